package io.github.drakegpt.report;

import io.github.drakegpt.tracking.Metrics;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.DoubleSummaryStatistics;
import java.util.List;
import java.util.Locale;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/**
 * The loss curves of runs as a picture, an SVG: validation solid and training dashed, on shared axes. Runs of several seeds
 * are one line, their mean, in a band from the lowest to the highest. The same runs give the same bytes. Runs that were not
 * evaluated yet are left out.
 */
public final class CurvesPicture {
    /** Pixels across. */
    public static final int WIDTH = 960;

    private static final int PLOT_TOP = 84;
    private static final int PLOT_BOTTOM = 536;
    private static final int MARGIN = 24;
    private static final int TICK_GAP = 8; // between a loss and its line
    private static final int AXIS_HEIGHT = 54; // steps and their title, below the plot

    private static final int FONT_SIZE = 13;
    private static final double CHARACTER = 0.62 * FONT_SIZE; // about as wide as that of a wide font
    private static final int LABEL_HEIGHT = 18;
    private static final int LABEL_INDENT = 30; // from the plot to the labels
    private static final int LOSS_WIDTH = 46; // of a loss before a name
    private static final int BASELINE = 4; // below the middle of a line of text

    /** More runs have a key below the plot in place of labels at the ends of their lines. */
    private static final int MAX_LABELS = 12;

    private static final int MAX_LABEL_LENGTH = 30;
    private static final int KEY_COLUMNS = 4;
    private static final int KEY_ROWS = 6;
    private static final int KEY_LINE = 26; // a piece of a run's line before its loss

    private static final int ENOUGH = 20; // losses of which some can tower above the others
    private static final double LEAST_SPAN = 0.1; // of losses, so that those that hardly differ look so

    private static final int TICKS = 8; // at most, about, on each axis

    /**
     * @param slot of the palette
     * @param runs the metrics of each seed's run, by ascending steps
     */
    public record Curve(String name, int slot, List<List<Metrics>> runs) {
        /** The curves of some runs, those of several seeds as one. */
        public static List<Curve> of(List<RunReport> runs) {
            List<SeedGroup> groups = SeedGroup.of(runs);
            List<Integer> slots = Palette.slots(groups);
            return IntStream.range(0, groups.size())
                    .mapToObj(i -> new Curve(
                            groups.get(i).name(),
                            slots.get(i),
                            groups.get(i).runs().stream()
                                    .map(RunReport::metrics)
                                    .toList()))
                    .toList();
        }
    }

    /** The mean loss of some runs after a step, between the lowest and the highest. */
    private record Point(int step, double loss, double low, double high) {}

    /** A curve that can be drawn. */
    private record Line(int slot, String name, boolean hasBand, List<Point> val, List<Point> train) {
        Point end() {
            return val.get(val.size() - 1);
        }
    }

    /** A stretch of values, and the pixels that it is drawn on. */
    private record Axis(double low, double high, double lowPixel, double highPixel, double tick) {
        double pixel(double value) {
            return lowPixel + (value - low) / (high - low) * (highPixel - lowPixel);
        }

        List<Double> ticks() {
            long first = (long) Math.ceil(low / tick - 1e-6);
            long last = (long) Math.floor(high / tick + 1e-6);
            return IntStream.rangeClosed(0, Math.toIntExact(last - first))
                    .mapToObj(i -> (first + i) * tick)
                    .toList();
        }
    }

    private final StringBuilder svg = new StringBuilder();
    private final List<Line> lines;
    private final boolean labelled;
    private final int height;
    private final Axis steps;
    private final Axis losses;

    private CurvesPicture(List<Curve> curves) {
        lines = curves.stream()
                .map(curve -> new Line(
                        curve.slot(),
                        curve.name(),
                        curve.runs().size() > 1,
                        points(curve.runs(), Metrics::shownValLoss),
                        points(curve.runs(), Metrics::trainLoss)))
                .filter(line -> !line.val().isEmpty())
                .toList();
        if (lines.isEmpty()) {
            throw new IllegalArgumentException(
                    "There is no curve to draw: none of the runs has been evaluated yet; give"
                            + " one that has, or train on.");
        }
        labelled = lines.size() <= MAX_LABELS;
        height = PLOT_BOTTOM + AXIS_HEIGHT + (labelled ? 0 : keyRows() * LABEL_HEIGHT + 10);
        losses = losses();
        steps = steps();
    }

    /**
     * Draws the curves for a page that is light or dark, as its reader prefers.
     *
     * @throws IllegalArgumentException if none of the runs was evaluated
     */
    public static String svg(List<Curve> curves) {
        return new CurvesPicture(curves).draw(true);
    }

    /** Draws the curves in light colours. */
    static String lightSvg(List<Curve> curves) {
        return new CurvesPicture(curves).draw(false);
    }

    private static List<Point> points(List<List<Metrics>> runs, Function<Metrics, Double> loss) {
        TreeMap<Integer, DoubleSummaryStatistics> steps = new TreeMap<>();
        runs.stream()
                .flatMap(List::stream)
                .filter(at -> loss.apply(at) != null && Math.abs(loss.apply(at)) <= Float.MAX_VALUE) // as losses are
                .forEach(at -> steps.computeIfAbsent(at.step(), step -> new DoubleSummaryStatistics())
                        .accept(loss.apply(at)));
        return steps.entrySet().stream()
                .map(at -> new Point(
                        at.getKey(),
                        at.getValue().getAverage(),
                        at.getValue().getMin(),
                        at.getValue().getMax()))
                .toList();
    }

    // ------------------------------------------------------------------------------------------------------ axes

    private Axis steps() {
        int last = points().mapToInt(Point::step).max().orElseThrow();
        double left = MARGIN + TICK_GAP + widest(losses.ticks().stream().map(this::tickText));
        double right = labelled
                ? LABEL_INDENT + LOSS_WIDTH + widest(lines.stream().map(CurvesPicture::label))
                : width(stepText(last)) / 2;
        return new Axis(0, last, left, WIDTH - MARGIN - right, Math.max(1, tick(last)));
    }

    private static double widest(Stream<String> texts) {
        return texts.mapToDouble(CurvesPicture::width).max().orElse(0);
    }

    /**
     * From slightly below the lowest loss to slightly above the highest one, or above most where a few tower above them: the
     * first losses of a model would compress the rest of the curves. The end of a line is always visible.
     */
    private Axis losses() {
        double low = points().mapToDouble(Point::low).min().orElseThrow();
        double high = points().mapToDouble(Point::high).max().orElseThrow();
        high = Math.min(high, cut(low, high));
        double magnitude = Math.max(Math.abs(low), Math.abs(high));
        double least = Math.max(LEAST_SPAN, 0.02 * magnitude);
        double margin = Math.max(0.04 * (high - low), (least - (high - low)) / 2);
        return new Axis(low - margin, high + margin, PLOT_BOTTOM, PLOT_TOP, tick(high - low + 2 * margin));
    }

    /**
     * Above which a few high losses would press the rest together, infinite if none do: above nine tenths of all or, where
     * there are few, above all but the first of each line.
     */
    private double cut(double low, double high) {
        double[] all = points().mapToDouble(Point::loss).sorted().toArray();
        boolean isFew = all.length < ENOUGH;
        double most = isFew
                ? lines.stream()
                        .flatMap(line -> Stream.concat(
                                line.val().stream().skip(1),
                                line.train().stream().skip(1)))
                        .mapToDouble(Point::high)
                        .max()
                        .orElse(low)
                : low + 1.15 * (all[(int) (0.9 * (all.length - 1))] - low);
        double cut = Math.max(
                most,
                lines.stream().mapToDouble(line -> line.end().high()).max().orElseThrow());
        return high - low > (isFew ? 2.5 : 1.3) * (cut - low) ? cut : Double.POSITIVE_INFINITY;
    }

    private Stream<Point> points() {
        return lines.stream().flatMap(line -> Stream.concat(line.val().stream(), line.train().stream()));
    }

    /** The smallest of 1, 2 and 5 times a power of ten that does not divide a range into too many parts. */
    private static double tick(double range) {
        double power = Math.pow(10, Math.floor(Math.log10(range / TICKS)));
        return Stream.of(1, 2, 5, 10)
                .map(times -> times * power)
                .filter(tick -> range / tick <= TICKS)
                .findFirst()
                .orElseThrow();
    }

    // --------------------------------------------------------------------------------------------------- drawing

    private String draw(boolean dark) {
        svg.append(String.format(
                Locale.ROOT,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" role=\"img\""
                        + " aria-labelledby=\"title desc\" font-family=\"system-ui,-apple-system,'Segoe UI',Roboto,"
                        + "'Helvetica Neue',Arial,sans-serif\" font-size=\"%d\">\n",
                WIDTH,
                height,
                WIDTH,
                height,
                FONT_SIZE));
        svg.append("<title id=\"title\">Loss curves</title>\n<desc id=\"desc\">")
                .append(escape(description()))
                .append("</desc>\n");
        style(dark);
        svg.append(String.format(
                Locale.ROOT,
                "<rect class=\"page\" x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"6\"/>\n",
                WIDTH - 1,
                height - 1));
        head();
        axes();
        svg.append(String.format(
                Locale.ROOT,
                "<clipPath id=\"plot\"><rect x=\"0\" y=\"%d\" width=\"%d\" height=\"%d\"/></clipPath>\n",
                PLOT_TOP,
                WIDTH,
                PLOT_BOTTOM - PLOT_TOP));
        svg.append("<g fill=\"none\" stroke-linejoin=\"round\" stroke-linecap=\"butt\" clip-path=\"url(#plot)\">\n");
        lines.stream().filter(Line::hasBand).forEach(this::band);
        svg.append("<g class=\"train\">\n");
        lines.forEach(line -> curve(line, line.train(), Palette.TRAIN_DASH));
        svg.append("</g>\n<g class=\"val\">\n");
        lines.forEach(line -> curve(line, line.val(), List.of()));
        svg.append("</g>\n<g class=\"mark\">\n");
        lines.forEach(line ->
                line.val().forEach(point -> mark(line, steps.pixel(point.step()), losses.pixel(point.loss()))));
        svg.append("</g>\n</g>\n");
        if (labelled) {
            labels();
        } else {
            key();
        }
        return svg.append("</svg>\n").toString();
    }

    private String description() {
        int listed = Math.min(lines.size(), KEY_COLUMNS * KEY_ROWS);
        return "Validation loss (solid) and training loss (dashed), in nats per character, over training steps. Last"
                + " validation loss: "
                + lines.stream()
                        .limit(listed)
                        .map(line -> line.name() + " " + loss(line))
                        .collect(Collectors.joining(", "))
                + (listed < lines.size() ? ", and " + (lines.size() - listed) + " more" : "") + ".";
    }

    private void style(boolean dark) {
        svg.append("<style>\n")
                .append(
                        labelled
                                ? ".train{stroke-width:1.25;stroke-opacity:.7}.val{stroke-width:2.25}\n"
                                : ".train{stroke-width:1;stroke-opacity:.4}.val{stroke-width:1.5}\n")
                .append(".band{fill-opacity:.18}text{font-variant-numeric:tabular-nums}\n");
        theme("#1f2328", "#59636e", "#e4e7eb", "#b4bac2", Palette.LIGHT_BACKGROUND, Palette.Colour::light);
        if (dark) {
            svg.append("@media (prefers-color-scheme:dark){\n");
            theme("#f0f3f6", "#9aa4af", "#30363d", "#59626d", Palette.DARK_BACKGROUND, Palette.Colour::dark);
            svg.append("}\n");
        }
        svg.append("</style>\n");
    }

    private void theme(
            String ink, String muted, String grid, String lead, String page, Function<Palette.Colour, String> colour) {
        svg.append(String.format(
                Locale.ROOT,
                ".page{fill:%s;stroke:%s}.ink{fill:%s}.muted{fill:%s}.grid{stroke:%s}.axis{stroke:%s}.lead{stroke:%s}.hollow{fill:%s}\n",
                page,
                grid,
                ink,
                muted,
                grid,
                muted,
                lead,
                page));
        new TreeSet<>(lines.stream().map(CurvesPicture::colourOf).toList())
                .forEach(index -> svg.append(String.format(
                        Locale.ROOT,
                        ".s%d{stroke:%s}.f%d{fill:%s}\n",
                        index,
                        colour.apply(Palette.colour(index)),
                        index,
                        colour.apply(Palette.colour(index)))));
    }

    private static int colourOf(Line line) {
        return line.slot() % Palette.COLOURS.size();
    }

    /** The title, the key to solid and dashed lines, and the title of the axis of losses. */
    private void head() {
        text("ink", MARGIN, 34, "Loss while training", " font-size=\"17\" font-weight=\"700\"");
        text("muted", MARGIN, 60, "loss, nats per character", "");
        double x = steps.highPixel();
        for (boolean train : List.of(true, false)) {
            String word = train ? "training" : "validation";
            x -= width(word);
            text("muted", x, 60, word, "");
            x -= 38;
            svg.append(String.format(
                    Locale.ROOT,
                    "<path class=\"axis\" stroke-width=\"%s\"%s d=\"M%s 56h30\"/>\n",
                    train ? "1.25" : "2.25",
                    train ? dashes(Palette.TRAIN_DASH) : "",
                    number(x)));
            x -= 22;
        }
    }

    private void axes() {
        for (double loss : losses.ticks()) {
            double y = losses.pixel(loss);
            svg.append(String.format(
                    Locale.ROOT,
                    "<path class=\"grid\" d=\"M%s %sH%s\"/>",
                    number(steps.lowPixel()),
                    number(y),
                    number(steps.highPixel())));
            text("muted", steps.lowPixel() - TICK_GAP, y + BASELINE, tickText(loss), " text-anchor=\"end\"");
        }
        for (double step : steps.ticks()) {
            double x = steps.pixel(step);
            svg.append(String.format(Locale.ROOT, "<path class=\"axis\" d=\"M%s %dv5\"/>", number(x), PLOT_BOTTOM));
            text("muted", x, PLOT_BOTTOM + 20, stepText(step), " text-anchor=\"middle\"");
        }
        svg.append(String.format(
                Locale.ROOT,
                "<path class=\"axis\" d=\"M%s %dH%s\"/>",
                number(steps.lowPixel()),
                PLOT_BOTTOM,
                number(steps.highPixel())));
        text("muted", (steps.lowPixel() + steps.highPixel()) / 2, PLOT_BOTTOM + 40, "step", " text-anchor=\"middle\"");
    }

    private static String stepText(double step) {
        return String.format(Locale.ROOT, "%,.0f", step);
    }

    /** A tick's label, with as many digits as tell ticks apart. */
    private String tickText(double loss) {
        if (Math.max(Math.abs(losses.low()), Math.abs(losses.high())) >= 1e6) {
            return String.format(Locale.ROOT, "%.1e", loss);
        }
        int digits = Math.max(0, (int) -Math.floor(Math.log10(losses.tick()) + 1e-9));
        return String.format(Locale.ROOT, "%,." + digits + "f", loss + 0.0); // not -0
    }

    /** Between the lowest and the highest loss of the seeds. */
    private void band(Line line) {
        StringBuilder outline = new StringBuilder();
        line.val().forEach(point -> add(outline, point.step(), point.high()));
        for (int i = line.val().size() - 1; i >= 0; i--) {
            add(outline, line.val().get(i).step(), line.val().get(i).low());
        }
        svg.append(String.format("<path class=\"band f%d\" d=\"%sZ\"/>\n", colourOf(line), outline));
    }

    private void add(StringBuilder path, int step, double loss) {
        path.append(path.isEmpty() ? 'M' : 'L')
                .append(number(steps.pixel(step)))
                .append(' ')
                .append(number(losses.pixel(loss)));
    }

    /** A line through all points, with the dots of its slot, or a dot for a single one. */
    private void curve(Line line, List<Point> points, List<Integer> dash) {
        if (points.size() == 1) {
            dot(line, points.get(0), "2");
        } else if (!points.isEmpty()) {
            svg.append(String.format(
                    Locale.ROOT, "<path class=\"s%d\"%s d=\"%s\"/>\n", colourOf(line), dashes(dash), path(points)));
        }
    }

    private void dot(Line line, Point point, String radius) {
        svg.append(String.format(
                Locale.ROOT,
                "<circle class=\"f%d\" cx=\"%s\" cy=\"%s\" r=\"%s\"/>\n",
                colourOf(line),
                number(steps.pixel(point.step())),
                number(losses.pixel(point.loss())),
                radius));
    }

    /** A dot of a slot that has some. */
    private void mark(Line line, double x, double y) {
        if (Palette.mark(line.slot()) != Palette.Mark.NONE) {
            svg.append(String.format(
                    Locale.ROOT,
                    "<circle class=\"s%d %s\" stroke-width=\"1.5\" cx=\"%s\" cy=\"%s\" r=\"3\"/>\n",
                    colourOf(line),
                    Palette.mark(line.slot()) == Palette.Mark.FULL ? "f" + colourOf(line) : "hollow",
                    number(x),
                    number(y)));
        }
    }

    /** Of points in the same column of pixels, draws only the first, the lowest, the highest and the last. */
    private String path(List<Point> points) {
        StringBuilder path = new StringBuilder();
        points.stream()
                .collect(Collectors.groupingBy(
                        point -> (int) steps.pixel(point.step()), TreeMap::new, Collectors.toList()))
                .values()
                .forEach(column -> Stream.of(
                                column.get(0),
                                column.stream()
                                        .min(Comparator.comparing(Point::loss))
                                        .orElseThrow(),
                                column.stream()
                                        .max(Comparator.comparing(Point::loss))
                                        .orElseThrow(),
                                column.get(column.size() - 1))
                        .distinct()
                        .sorted(Comparator.comparing(Point::step))
                        .forEach(point -> add(path, point.step(), point.loss())));
        return path.toString();
    }

    private static String dashes(List<Integer> dash) {
        return dash.isEmpty()
                ? ""
                : " stroke-dasharray=\"" + dash.stream().map(Object::toString).collect(Collectors.joining(" ")) + "\"";
    }

    // ---------------------------------------------------------------------------------------- labels and the key

    /** A loss and a name for each run, as near to the end of its line as the others leave room. */
    private void labels() {
        List<Line> sorted = lines.stream()
                .sorted(Comparator.comparingDouble(
                        line -> losses.pixel(line.end().loss())))
                .toList();
        double[] wanted = sorted.stream()
                .mapToDouble(line -> losses.pixel(line.end().loss()))
                .toArray();
        double[] found = apart(wanted, LABEL_HEIGHT, PLOT_TOP, PLOT_BOTTOM - 4.0);
        double right = steps.highPixel();
        for (int i = 0; i < found.length; i++) {
            Line line = sorted.get(i);
            double end = steps.pixel(line.end().step());
            svg.append(String.format(
                    Locale.ROOT,
                    "<path class=\"lead\" fill=\"none\" d=\"M%s %sH%sL%s %sh4\"/>\n",
                    number(end),
                    number(wanted[i]),
                    number(right + 6),
                    number(right + LABEL_INDENT - 10),
                    number(found[i])));
            dot(line, line.end(), "3.5");
            text("ink", right + LABEL_INDENT, found[i] + BASELINE, loss(line), "");
            text(
                    "f" + colourOf(line),
                    right + LABEL_INDENT + LOSS_WIDTH,
                    found[i] + BASELINE,
                    label(line),
                    " font-weight=\"500\"");
        }
    }

    /**
     * Places as near to the wanted ones as can be where none is nearer than {@code gap} to the next: labels that would
     * overlap are moved as a block, centred on the middle of their wanted places.
     *
     * @param wanted ascending
     */
    private static double[] apart(double[] wanted, double gap, double low, double high) {
        record Block(double sum, int count) {
            double mean() {
                return sum / count;
            }
        }
        List<Block> blocks = new ArrayList<>(); // their places, minus the gaps before them
        for (int i = 0; i < wanted.length; i++) {
            Block block = new Block(wanted[i] - i * gap, 1);
            while (!blocks.isEmpty() && blocks.get(blocks.size() - 1).mean() >= block.mean()) {
                Block before = blocks.remove(blocks.size() - 1);
                block = new Block(before.sum() + block.sum(), before.count() + block.count());
            }
            blocks.add(block);
        }
        double[] places = new double[wanted.length];
        int i = 0;
        for (Block block : blocks) {
            double first = Math.max(low, Math.min(high - (wanted.length - 1) * gap, block.mean()));
            for (int j = 0; j < block.count(); j++, i++) {
                places[i] = first + i * gap;
            }
        }
        return places;
    }

    private int keyRows() {
        return Math.min(KEY_ROWS, (lines.size() + KEY_COLUMNS - 1) / KEY_COLUMNS);
    }

    /** Line, loss and name of each run, column by column; if there are too many, of the first ones. */
    private void key() {
        int rows = keyRows();
        int cells = rows * KEY_COLUMNS;
        int listed = lines.size() <= cells ? lines.size() : cells - 1;
        double columnWidth = (WIDTH - 2.0 * MARGIN) / KEY_COLUMNS;
        for (int i = 0; i < Math.min(cells, lines.size()); i++) {
            double x = MARGIN + i / rows * columnWidth;
            double y = PLOT_BOTTOM + AXIS_HEIGHT + (i % rows + 0.5) * LABEL_HEIGHT;
            if (i == listed) {
                text(
                        "muted",
                        x + KEY_LINE + 8,
                        y + BASELINE,
                        String.format(Locale.ROOT, "and %,d more", lines.size() - listed),
                        "");
                return;
            }
            Line line = lines.get(i);
            svg.append(String.format(
                    Locale.ROOT,
                    "<path class=\"s%d\" stroke-width=\"2.25\" d=\"M%s %sh%d\"/>",
                    colourOf(line),
                    number(x),
                    number(y),
                    KEY_LINE));
            mark(line, x + KEY_LINE / 2.0, y);
            text("muted", x + KEY_LINE + 8, y + BASELINE, loss(line), "");
            int length = (int) ((columnWidth - KEY_LINE - 8 - LOSS_WIDTH - 8) / CHARACTER);
            text("ink", x + KEY_LINE + 8 + LOSS_WIDTH, y + BASELINE, shortened(line.name(), length), "");
        }
    }

    private static String loss(Line line) {
        double loss = line.end().loss();
        return Math.abs(loss) < 1000
                ? String.format(Locale.ROOT, "%.3f", loss)
                : String.format(Locale.ROOT, "%.0e", loss);
    }

    private static String label(Line line) {
        return shortened(line.name(), MAX_LABEL_LENGTH);
    }

    /** A long name without its middle: names of one folder often begin alike. */
    private static String shortened(String name, int length) {
        int[] characters = name.codePoints().toArray();
        if (characters.length <= length) {
            return name;
        }
        int tail = (length - 1) / 2;
        int head = length - 1 - tail;
        return new String(characters, 0, head) + '\u2026' + new String(characters, characters.length - tail, tail);
    }

    // ------------------------------------------------------------------------------------------------------ text

    private void text(String style, double x, double y, String text, String attributes) {
        svg.append(String.format(
                Locale.ROOT,
                "<text class=\"%s\" x=\"%s\" y=\"%s\"%s>%s</text>\n",
                style,
                number(x),
                number(y),
                attributes,
                escape(text)));
    }

    /** Approximate width of a text; ideographs and the like are as wide as high. */
    private static double width(String text) {
        return text.codePoints()
                .mapToDouble(character -> character < 0x2e80 ? CHARACTER : FONT_SIZE)
                .sum();
    }

    private static String number(double value) {
        return BigDecimal.valueOf(Math.round(value * 100), 2)
                .stripTrailingZeros()
                .toPlainString();
    }

    /** A text as XML; characters that XML 1.0 does not allow become U+FFFD. */
    private static String escape(String text) {
        StringBuilder escaped = new StringBuilder();
        text.codePoints().forEach(character -> {
            switch (character) {
                case '&' -> escaped.append("&amp;");
                case '<' -> escaped.append("&lt;");
                case '>' -> escaped.append("&gt;");
                default -> escaped.appendCodePoint(isXml(character) ? character : 0xfffd);
            }
        });
        return escaped.toString();
    }

    /** Whether a character may appear unescaped in text. A carriage return may not: it would be read as a line feed. */
    private static boolean isXml(int character) {
        return character == '\t'
                || character == '\n'
                || character >= 0x20 && character < 0xd800
                || character >= 0xe000 && character < 0xfffe
                || character >= 0x10000;
    }
}
