package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import io.github.drakegpt.report.CurvesPicture.Curve;
import io.github.drakegpt.tracking.Metrics;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.StringReader;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import javax.xml.parsers.DocumentBuilderFactory;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.w3c.dom.Document;
import org.w3c.dom.Element;
import org.w3c.dom.NodeList;
import org.xml.sax.InputSource;

class CurvesPictureTest {
    private static final List<Curve> TWO = List.of(
            curve("first", at(500, 3.5, 3.75), at(1000, 2.5, 2.75), at(1500, 2, 2.25)),
            curve(1, "second", at(500, 3, 3.25), between(750), at(1000, 2.25, 2.5)));

    private static Curve curve(String name, Metrics... metrics) {
        return curve(0, name, metrics);
    }

    private static Curve curve(int slot, String name, Metrics... metrics) {
        return new Curve(name, slot, List.of(List.of(metrics)));
    }

    private static Metrics at(int step, double trainLoss, double valLoss) {
        return new Metrics(step, trainLoss, trainLoss, valLoss, null, 0.001, 1.0, 1000, 1L, 1, "la la");
    }

    private static Metrics between(int step) {
        return new Metrics(step, 9.0, null, null, null, 0.001, 1.0, 1000, null, 1, null);
    }

    /** Runs whose losses fall to {@code spread} times their number above 2. */
    private static List<Curve> runs(int count, double spread) {
        return IntStream.range(0, count)
                .mapToObj(run -> curve(
                        run,
                        "run " + run,
                        at(100, 4, 4.1),
                        at(200, 2.9 + run * spread, 3 + run * spread),
                        at(300, 1.9 + run * spread, 2 + run * spread)))
                .toList();
    }

    // ------------------------------------------------------------------------------------------------- reading it

    private static Document parse(String svg) {
        try {
            return DocumentBuilderFactory.newInstance()
                    .newDocumentBuilder()
                    .parse(new InputSource(new StringReader(svg)));
        } catch (Exception e) {
            throw new AssertionError("not XML: " + svg, e);
        }
    }

    private static List<Element> all(Document svg, String tag) {
        NodeList found = svg.getElementsByTagName(tag);
        return IntStream.range(0, found.getLength())
                .mapToObj(i -> (Element) found.item(i))
                .toList();
    }

    private static List<Element> texts(Document svg, String style) {
        return all(svg, "text").stream()
                .filter(text -> text.getAttribute("class").matches(style))
                .toList();
    }

    private static double number(Element element, String attribute) {
        return Double.parseDouble(element.getAttribute(attribute));
    }

    /** The points of the n-th line of validation or training losses. */
    private static List<double[]> line(Document svg, String split, int n) {
        Element group = all(svg, "g").stream()
                .filter(g -> g.getAttribute("class").equals(split))
                .findFirst()
                .orElseThrow();
        String path = ((Element) group.getElementsByTagName("path").item(n)).getAttribute("d");
        return Arrays.stream(path.substring(1).split("L"))
                .map(point -> Arrays.stream(point.split(" "))
                        .mapToDouble(Double::parseDouble)
                        .toArray())
                .toList();
    }

    /** What pixel the axis says that a value is at, from two of its ticks. */
    private static double pixel(List<Element> ticks, String attribute, double value) {
        Element a = ticks.get(0);
        Element b = ticks.get(ticks.size() - 1);
        double from = value(a);
        return number(a, attribute)
                + (value - from) / (value(b) - from) * (number(b, attribute) - number(a, attribute));
    }

    private static double value(Element tick) {
        return Double.parseDouble(tick.getTextContent().replace(",", ""));
    }

    private static List<Element> ticks(Document svg, String anchor) {
        return texts(svg, "muted").stream()
                .filter(text -> text.getAttribute("text-anchor").equals(anchor))
                .filter(text -> text.getTextContent().matches("[0-9.,]+"))
                .toList();
    }

    // ------------------------------------------------------------------------------------------------------ tests

    @Test
    void pointsAreWhereTheAxesSay() {
        Document svg = parse(CurvesPicture.svg(TWO));
        List<Element> losses = ticks(svg, "end");
        List<Element> steps = ticks(svg, "middle");
        double middle = 4; // a text's baseline is below the middle of the line that it names

        double[][] wanted = {{500, 3.75}, {1000, 2.75}, {1500, 2.25}};
        List<double[]> found = line(svg, "val", 0);
        assertThat(found).hasSize(3);
        for (int i = 0; i < 3; i++) {
            assertThat(found.get(i)[0]).isCloseTo(pixel(steps, "x", wanted[i][0]), within(0.02));
            assertThat(found.get(i)[1]).isCloseTo(pixel(losses, "y", wanted[i][1]) - middle, within(0.02));
        }
        List<double[]> train = line(svg, "train", 1);
        assertThat(train).hasSize(2); // nothing of what lies between evaluations
        assertThat(train.get(1)[0]).isCloseTo(pixel(steps, "x", 1000), within(0.02));
        assertThat(train.get(1)[1]).isCloseTo(pixel(losses, "y", 2.25) - middle, within(0.02));
    }

    /** The first losses come from above the picture if they are far above all others; the end of a line is always in it. */
    @Test
    void theBeginningDoesNotPressTheRestTogether() {
        Document svg = parse(CurvesPicture.svg(List.of(
                curve("long", at(50, 90, 100), at(200, 2, 2.5), at(1000, 1, 2)),
                curve("short", at(40, 90, 95), at(60, 2.5, 3)))));
        Element clip = (Element)
                all(svg, "clipPath").get(0).getElementsByTagName("rect").item(0);
        double top = number(clip, "y");
        double bottom = top + number(clip, "height");

        assertThat(line(svg, "val", 0).get(0)[1]).isLessThan(top);
        assertThat(line(svg, "val", 0).get(1)[1] - line(svg, "val", 0).get(2)[1])
                .isLessThan(-(bottom - top) / 5);
        for (int n = 0; n < 2; n++) {
            List<double[]> points = line(svg, "val", n);
            assertThat(points.get(points.size() - 1)[1]).isBetween(top, bottom);
        }
    }

    @Test
    void ofManyLossesTheHighestTenthMayLieAbove() {
        List<Metrics> falling = IntStream.rangeClosed(1, 20)
                .mapToObj(i -> at(i, i < 3 ? 90 : 2, i < 3 ? 90 : 2 + 1.0 / i))
                .toList();
        Document svg = parse(CurvesPicture.svg(List.of(new Curve("one", 0, List.of(falling)))));

        assertThat(line(svg, "val", 0).get(1)[1]).isNegative();
        assertThat(line(svg, "val", 0).get(2)[1]).isPositive();
    }

    @Test
    void theAxisCoversALeastSpan() {
        Document svg = parse(CurvesPicture.svg(List.of(curve("flat", at(1, 2, 2.001), at(2, 2, 2)))));
        List<Element> losses = ticks(svg, "end");
        assertThat(value(losses.get(losses.size() - 1)) - value(losses.get(0))).isBetween(0.05, 0.2);
    }

    @Test
    void seedsAreOneLineInABand() {
        Curve seeds = new Curve(
                "seeds",
                0,
                List.of(
                        List.of(at(100, 3, 3), at(200, 2, 2.5)),
                        List.of(at(100, 3, 3.5), at(200, 2, 2.25)),
                        List.of()));
        Document svg = parse(CurvesPicture.svg(List.of(seeds)));
        List<Element> losses = ticks(svg, "end");

        List<double[]> mean = line(svg, "val", 0);
        assertThat(mean).hasSize(2);
        assertThat(mean.get(0)[1]).isCloseTo(pixel(losses, "y", 3.25) - 4, within(0.02));
        List<Element> bands = all(svg, "path").stream()
                .filter(path -> path.getAttribute("class").equals("band f0"))
                .toList();
        assertThat(bands).hasSize(1);
        assertThat(Arrays.stream(bands.get(0)
                                .getAttribute("d")
                                .replaceAll("[MZ]", "")
                                .split("L"))
                        .map(point -> Double.parseDouble(point.split(" ")[1])))
                .usingComparatorForType((a, b) -> Math.abs(a - b) < 0.02 ? 0 : Double.compare(a, b), Double.class)
                .containsExactly(
                        pixel(losses, "y", 3.5) - 4,
                        pixel(losses, "y", 2.5) - 4,
                        pixel(losses, "y", 2.25) - 4,
                        pixel(losses, "y", 3) - 4);
    }

    @Test
    void onlyTrainingLossesAreDashedAndRunsOfOneColourHaveOtherDots() {
        Document svg = parse(CurvesPicture.svg(List.of(
                curve(1, "plain", at(1, 3, 3), at(2, 2, 2)),
                curve(10, "full", at(1, 3, 3.1), at(2, 2, 2.1)),
                curve(19, "hollow", at(1, 3, 3.2), at(2, 2, 2.2)))));

        assertThat(all(svg, "path"))
                .filteredOn(path -> path.hasAttribute("stroke-dasharray"))
                .hasSize(1 + 3); // the key, and each run's
        assertThat(all(svg, "path"))
                .filteredOn(path -> path.hasAttribute("stroke-dasharray") && path.hasAttribute("stroke-width"))
                .hasSize(1);
        for (String style : List.of("s1 f1", "s1 hollow")) {
            assertThat(all(svg, "circle"))
                    .filteredOn(dot -> dot.getAttribute("class").equals(style))
                    .hasSize(2);
        }
    }

    /** A leader has no run's colour, so that it is not taken for data. */
    @Test
    void leadersAreOfNoRun() {
        Document svg = parse(CurvesPicture.svg(TWO));
        assertThat(all(svg, "path"))
                .extracting(path -> path.getAttribute("class"))
                .filteredOn(style -> style.contains("lead"))
                .containsExactly("lead", "lead");
    }

    @Test
    void ticksAreRoundAndNamed() {
        Document svg = parse(CurvesPicture.svg(TWO));

        assertThat(ticks(svg, "end")).extracting(Element::getTextContent).containsExactly("2.0", "2.5", "3.0", "3.5");
        assertThat(ticks(svg, "middle"))
                .extracting(Element::getTextContent)
                .containsExactly("0", "200", "400", "600", "800", "1,000", "1,200", "1,400");
        assertThat(texts(svg, "muted"))
                .extracting(Element::getTextContent)
                .contains("loss, nats per character", "step", "validation", "training");
    }

    @Test
    void eachLineEndsInItsLossAndName() {
        Document svg = parse(CurvesPicture.svg(TWO));

        assertThat(texts(svg, "f0")).extracting(Element::getTextContent).containsExactly("first");
        assertThat(texts(svg, "f1")).extracting(Element::getTextContent).containsExactly("second");
        assertThat(texts(svg, "ink")).extracting(Element::getTextContent).contains("2.250", "2.500");
        assertThat(all(svg, "desc").get(0).getTextContent()).contains("first 2.250, second 2.500.");
    }

    @ParameterizedTest
    @ValueSource(doubles = {0, 0.001, 0.05, 0.15})
    void labelsDoNotOverlap(double spread) {
        Document svg = parse(CurvesPicture.svg(runs(12, spread)));

        List<Element> labels = texts(svg, "f\\d");
        assertThat(labels).hasSize(12);
        double[] y = labels.stream()
                .mapToDouble(label -> number(label, "y"))
                .sorted()
                .toArray();
        double lowest = number(ticks(svg, "middle").get(0), "y");
        for (int i = 1; i < y.length; i++) {
            assertThat(y[i] - y[i - 1]).isGreaterThan(17.9); // pixels, of a text of 13
        }
        assertThat(y[0]).isGreaterThan(60);
        assertThat(y[11]).isLessThan(lowest - 13);
        assertThat(labels)
                .allSatisfy(label -> assertThat(number(label, "x")
                                + 0.6 * 13 * label.getTextContent().length())
                        .isLessThan(CurvesPicture.WIDTH));
    }

    @Test
    void labelsKeepTheOrderOfTheLines() {
        Document svg = parse(CurvesPicture.svg(runs(8, 0.001)));
        List<Element> labels = texts(svg, "f\\d");
        assertThat(labels).extracting(Element::getTextContent).first().isEqualTo("run 7");
        assertThat(labels).isSortedAccordingTo((a, b) -> Double.compare(number(a, "y"), number(b, "y")));
    }

    @ParameterizedTest
    @ValueSource(ints = {13, 24, 25, 200})
    void manyRunsHaveAKeyThatFits(int count) {
        Document svg = parse(CurvesPicture.svg(runs(count, 0.005)));
        Element root = svg.getDocumentElement();
        assertThat(texts(svg, "f\\d")).isEmpty();
        List<Element> names = texts(svg, "ink").stream()
                .filter(text -> text.getTextContent().startsWith("run "))
                .toList();
        assertThat(names).hasSize(count <= 24 ? count : 23);
        assertThat(names).allSatisfy(name -> assertThat(number(name, "y")).isLessThan(number(root, "height") - 8));
        assertThat(texts(svg, "muted").stream().map(Element::getTextContent).filter(text -> text.startsWith("and ")))
                .isEqualTo(count <= 24 ? List.of() : List.of("and " + (count - 23) + " more"));
        assertThat(Set.copyOf(names.stream()
                        .map(name -> name.getAttribute("x") + " " + name.getAttribute("y"))
                        .toList()))
                .hasSameSizeAs(names);
    }

    @Test
    void anyTextIsText() {
        String name = "<script>alert(1)</script> & \"'\r]]>\u0000\u001b\ud800\uffff \ud83d\ude00";
        Document svg = parse(
                CurvesPicture.svg(List.of(curve(name.substring(0, 18), at(1, 1, 1)), curve(1, name, at(2, 1, 1)))));

        assertThat(texts(svg, "f0")).extracting(Element::getTextContent).containsExactly("<script>alert(1)</");
        assertThat(all(svg, "desc").get(0).getTextContent())
                .contains("<script>alert(1)</script> & \"'\ufffd]]>\ufffd\ufffd\ufffd\ufffd \ud83d\ude00 1.000");
        assertThat(all(svg, "script")).isEmpty();
    }

    @Test
    void aLongNameLosesItsMiddle() {
        Document svg = parse(CurvesPicture.svg(List.of(curve("a".repeat(40) + "b".repeat(40), at(1, 1, 1)))));
        assertThat(texts(svg, "f0"))
                .extracting(Element::getTextContent)
                .containsExactly("a".repeat(15) + "\u2026" + "b".repeat(14));
    }

    @Test
    void thePageMayBeDark() {
        String svg = CurvesPicture.svg(TWO);
        String dark = svg.substring(svg.indexOf("@media (prefers-color-scheme:dark){"), svg.indexOf("</style>"));
        assertThat(dark)
                .contains(Palette.DARK_BACKGROUND)
                .contains(".s0{stroke:" + Palette.colour(0).dark() + "}")
                .contains(".f1{fill:" + Palette.colour(1).dark() + "}");
        assertThat(svg).contains(".s0{stroke:" + Palette.colour(0).light() + "}");
    }

    @Test
    void sameRunsAreSameBytes() {
        assertThat(CurvesPicture.svg(runs(5, 0.1))).isEqualTo(CurvesPicture.svg(runs(5, 0.1)));
    }

    @Test
    void valuesThatAreNoNumbersArePassedOver() {
        Document svg = parse(CurvesPicture.svg(List.of(curve(
                "diverged",
                at(1, 3, 3),
                at(2, Double.NaN, Double.NaN),
                at(2, Double.MAX_VALUE, -Double.MAX_VALUE), // whose distance is infinite
                at(3, 2, Double.POSITIVE_INFINITY),
                at(4, 2, 2)))));
        assertThat(line(svg, "val", 0)).hasSize(2);
        assertThat(line(svg, "train", 0)).hasSize(3);
    }

    @ParameterizedTest
    @ValueSource(doubles = {0, 1e-9, 2.5, 1e30})
    void oneEvaluationIsADot(double loss) {
        Document svg = parse(CurvesPicture.svg(List.of(curve("one", at(500, loss, loss)))));
        assertThat(all(svg, "circle")).isNotEmpty();
        assertThat(all(svg, "path"))
                .allSatisfy(path -> assertThat(path.getAttribute("d")).doesNotContain("NaN"));
        assertThat(texts(svg, "muted")).hasSizeGreaterThan(4 + 4); // four words and some ticks of both axes
    }

    @Test
    void runsWithoutEvaluationsAreLeftOutAndKeepTheirColour() {
        Document svg = parse(CurvesPicture.svg(List.of(curve("none", between(50)), curve(1, "some", at(500, 2, 2)))));
        assertThat(texts(svg, "f\\d")).extracting(Element::getTextContent).containsExactly("some");
        assertThat(texts(svg, "f1")).hasSize(1);
    }

    @Test
    void withoutAnyEvaluationItSaysSo() {
        assertThatThrownBy(() -> CurvesPicture.svg(List.of(curve("none", between(50)), curve("nothing"))))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessage("There is no curve to draw: none of the runs has been evaluated yet; give one that has, or"
                        + " train on.");
    }

    @Test
    void manyPointsAreThinnedToWhatCanBeSeen() {
        List<Metrics> points = new ArrayList<>();
        for (int step = 1; step <= 100_000; step++) {
            points.add(at(step, 2, step == 31_415 ? 0.5 : step == 27_182 ? 9 : 3 + 0.1 * Math.sin(step)));
        }
        String svg = CurvesPicture.svg(List.of(new Curve("long", 0, List.of(points))));

        List<double[]> line = line(parse(svg), "val", 0);
        assertThat(line).hasSizeLessThan(4 * CurvesPicture.WIDTH);
        assertThat(svg).hasSizeLessThan(100_000);
        double[] y = line.stream().mapToDouble(point -> point[1]).sorted().toArray();
        assertThat(y[0]).isLessThan(y[1] - 100); // the highest loss
        assertThat(y[y.length - 1]).isGreaterThan(y[y.length - 2] + 50); // the lowest
        double[] x = line.stream().mapToDouble(point -> point[0]).toArray();
        assertThat(x).isSorted();
    }

    @Test
    void thePngIsTheSamePictureInPixels() throws IOException {
        List<Curve> runs = runs(8, 0.15);
        Document svg = parse(CurvesPicture.svg(runs));

        BufferedImage image = ImageIO.read(new ByteArrayInputStream(CurvesImage.png(runs)));

        assertThat(image.getWidth()).isEqualTo(2 * CurvesPicture.WIDTH);
        assertThat(image.getHeight()).isEqualTo((int) (2 * number(svg.getDocumentElement(), "height")));
        assertThat(image.getColorModel().hasAlpha()).isFalse();
        assertThat(image.getRGB(0, 0) | 0xff000000).isEqualTo(-1);
        Set<Integer> colours = Arrays.stream(
                        image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, image.getWidth()))
                .boxed()
                .collect(Collectors.toSet());
        for (int run = 0; run < 8; run++) {
            assertThat(colours)
                    .contains(Color.decode(Palette.colour(run).light()).getRGB());
        }
        List<double[]> line = line(svg, "val", 7);
        double[] end = line.get(line.size() - 1);
        assertThat(image.getRGB((int) (2 * end[0]), (int) (2 * end[1])))
                .isEqualTo(Color.decode(Palette.colour(7).light()).getRGB());
    }
}
