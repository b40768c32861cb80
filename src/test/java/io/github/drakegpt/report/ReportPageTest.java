package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.github.drakegpt.checkpoint.RunFolder;
import io.github.drakegpt.tracking.Metrics;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportPageTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    @TempDir
    Path temp;

    @Test
    void textOfRunsCannotLeaveItsScriptElement() throws IOException {
        String sample = "</script><img src=x onerror=alert(1)>&amp;\u2028\u2029<!--<script>";
        Path folder = TestRuns.create(temp.resolve("one"), TestRuns.evaluation(10, 2, 3, sample));
        Files.writeString(folder.resolve(RunFolder.MACHINE), "{\"<b>\":\"<script>\"}");

        String data = ReportPage.data(RunReport.read(List.of(folder)));
        assertThat(data).doesNotContain("<", ">", "&", "\u2028", "\u2029", "\n");
        JsonNode run = JSON.readTree(data).at("/runs/0");
        assertThat(run.at("/evaluations/sample/0").asText()).isEqualTo(sample);
        assertThat(run.at("/machine/<b>").asText()).isEqualTo("<script>");
    }

    @Test
    void metricsAreColumnsOfEightDigits() throws IOException {
        Path folder = TestRuns.create(
                temp.resolve("one"),
                TestRuns.step(10, 2.123456789),
                TestRuns.step(20, 2),
                TestRuns.evaluation(30, 1.999999999, Double.NaN, null));

        JsonNode run =
                JSON.readTree(ReportPage.data(RunReport.read(List.of(folder)))).at("/runs/0");
        assertThat(run.path("steps").path("step")).hasToString("[10,20,30]");
        assertThat(run.path("steps").path("loss")).hasToString("[2.1234568,2,2]");
        assertThat(run.path("evaluations").path("step")).hasToString("[30]");
        assertThat(run.path("evaluations").path("valLoss")).hasToString("[null]");
        assertThat(run.path("evaluations").path("peakMemory")).hasToString("[1000000]");
    }

    @Test
    void columnsThatOldRunsDoNotHaveAreLeftOut() throws IOException {
        Metrics old = new Metrics(500, null, 2.25, 2.5, null, 0.001, 0.5, 1000, null, 3, null);

        JsonNode run = JSON.readTree(
                        ReportPage.data(RunReport.read(List.of(TestRuns.create(temp.resolve("old"), old)))))
                .at("/runs/0");
        assertThat(run.path("steps").has("loss")).isFalse();
        assertThat(run.path("evaluations").has("peakMemory")).isFalse();
        assertThat(run.path("evaluations").path("valLoss")).hasToString("[2.5]");
    }

    @Test
    void settingsHaveTheirFullNames() throws IOException {
        JsonNode settings = JSON.readTree(
                        ReportPage.data(RunReport.read(List.of(TestRuns.create(temp.resolve("one"))))))
                .at("/runs/0/settings");

        assertThat(settings.path("model.init").asText()).isEqualTo("pytorch");
        assertThat(settings.path("train.iters").asText()).isEqualTo("1000");
    }

    @Test
    void onlyThePagesOwnScriptsAndStyleMayRun() throws Exception {
        Path file = temp.resolve("report.html");
        ReportPage.write(file, RunReport.read(List.of(TestRuns.create(temp.resolve("one")))));
        String page = Files.readString(file);

        List<String> allowed = all("'sha256-([^']+)'", page);
        List<String> inline = new ArrayList<>(all("(?s)<script>(.*?)</script>", page));
        inline.addAll(all("(?s)<style>(.*?)</style>", page));
        assertThat(inline).hasSize(3);
        for (int i = 0; i < inline.size(); i++) {
            byte[] digest =
                    MessageDigest.getInstance("SHA-256").digest(inline.get(i).getBytes(StandardCharsets.UTF_8));
            inline.set(i, Base64.getEncoder().encodeToString(digest));
        }
        assertThat(allowed).containsExactlyInAnyOrderElementsOf(inline);
        assertThat(page)
                .contains("default-src 'none'", "connect-src 'none'", "Permission is hereby granted")
                .doesNotContain("unsafe", "{{", "src=\"", "@import", "url(")
                .doesNotContainPattern(" style=\"| on[a-z]+=\"|href=\"[^d]");
    }

    @Test
    void theLivePageMayTalkToItsServer() {
        String page = new String(ReportPage.live(), StandardCharsets.UTF_8);

        assertThat(page).contains("{\"live\":true}", "connect-src 'self'").doesNotContain("connect-src 'none'");
    }

    private static List<String> all(String pattern, String text) {
        List<String> found = new ArrayList<>();
        Matcher matcher = Pattern.compile(pattern).matcher(text);
        while (matcher.find()) {
            found.add(matcher.group(1));
        }
        return found;
    }
}
