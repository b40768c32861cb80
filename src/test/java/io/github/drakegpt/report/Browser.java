package io.github.drakegpt.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Predicate;
import java.util.logging.Level;
import java.util.stream.Stream;
import org.junit.jupiter.api.Assumptions;
import org.openqa.selenium.By;
import org.openqa.selenium.OutputType;
import org.openqa.selenium.WebElement;
import org.openqa.selenium.chrome.ChromeDriver;
import org.openqa.selenium.chrome.ChromeDriverService;
import org.openqa.selenium.chrome.ChromeOptions;
import org.openqa.selenium.logging.LogEntry;
import org.openqa.selenium.logging.LogType;
import org.openqa.selenium.logging.LoggingPreferences;

/** Chromium without a window, which can reach this machine only, and remembers its console and what it asked for. */
public final class Browser implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Duration PATIENCE = Duration.ofSeconds(30);
    private static final Optional<String> OBSTACLE = obstacle();

    private final ChromeDriver driver;
    private final List<String> errors = new ArrayList<>();
    private final List<String> requests = new ArrayList<>();

    private Browser(ChromeDriver driver) {
        this.driver = driver;
    }

    /** Why there is none, said once: of a skipped test the build shows no more than the number. */
    private static Optional<String> obstacle() {
        Optional<String> missing = Stream.of("chromium", "chromedriver")
                .filter(name -> onPath(name).isEmpty())
                .findFirst();
        missing.ifPresent(name -> System.out.println("Tests in a browser are skipped: " + name
                + " is not on the PATH (apt install chromium chromium-driver)"));
        return missing;
    }

    /** Starts one; the calling test is skipped where there is none. */
    public static Browser open() {
        Assumptions.assumeTrue(OBSTACLE.isEmpty(), () -> "no " + OBSTACLE.orElseThrow());
        ChromeOptions options = new ChromeOptions();
        options.setBinary(onPath("chromium").orElseThrow());
        options.addArguments(
                "--headless=new",
                "--no-sandbox", // which root cannot have
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
                "--force-device-scale-factor=1",
                "--window-size=1280,900",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost, EXCLUDE [::1]");
        LoggingPreferences logs = new LoggingPreferences();
        logs.enable(LogType.BROWSER, Level.ALL);
        logs.enable(LogType.PERFORMANCE, Level.ALL);
        options.setCapability("goog:loggingPrefs", logs);
        ChromeDriverService service = new ChromeDriverService.Builder()
                .usingDriverExecutable(onPath("chromedriver").orElseThrow())
                .usingAnyFreePort()
                .build();
        return new Browser(new ChromeDriver(service, options));
    }

    /** A file on the PATH. */
    private static Optional<File> onPath(String name) {
        return Arrays.stream(System.getenv("PATH").split(File.pathSeparator))
                .map(folder -> new File(folder, name))
                .filter(File::canExecute)
                .findFirst();
    }

    public ChromeDriver driver() {
        return driver;
    }

    public void go(String url) {
        driver.get(url);
    }

    public void go(Path file) {
        go(file.toUri().toString());
    }

    /** Runs a function's body on the page and gives what it returns. */
    public Object js(String body, Object... arguments) {
        return driver.executeScript(body, arguments);
    }

    public WebElement find(String selector) {
        return driver.findElement(By.cssSelector(selector));
    }

    public List<WebElement> findAll(String selector) {
        return driver.findElements(By.cssSelector(selector));
    }

    /** The text of an element as it is in the document, shown or not. */
    public String text(String selector) {
        return find(selector).getDomProperty("textContent");
    }

    /** Waits until an element's text is as wanted, and gives it; it need not be there from the first. */
    public String await(String selector, Predicate<String> wanted) {
        long end = System.nanoTime() + PATIENCE.toNanos();
        while (true) {
            // in one go: the page may replace the element at any time
            String text = (String) js(
                    "const found = document.querySelector(arguments[0]); return found && found.textContent", selector);
            if (text != null && wanted.test(text)) {
                return text;
            }
            assertThat(System.nanoTime()).as("%s is still '%s'", selector, text).isLessThan(end);
            pause();
        }
    }

    /** Waits until the page has drawn what it knows now. */
    public void awaitFrames() {
        driver.executeAsyncScript(
                "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => done()))");
    }

    private static void pause() {
        try {
            Thread.sleep(20);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException(e);
        }
    }

    /** The theme, as the system would set it. */
    public void theme(String lightOrDark) {
        driver.executeCdpCommand(
                "Emulation.setEmulatedMedia",
                Map.of("features", List.of(Map.of("name", "prefers-color-scheme", "value", lightOrDark))));
    }

    /** The size of what shows the page, smaller than a window can be. */
    public void size(int width, int height) {
        driver.executeCdpCommand(
                "Emulation.setDeviceMetricsOverride",
                Map.of("width", width, "height", height, "deviceScaleFactor", 1, "mobile", false));
    }

    /** Lets pages save files, into a folder. */
    public void downloadsTo(Path folder) {
        driver.executeCdpCommand(
                "Browser.setDownloadBehavior", Map.of("behavior", "allow", "downloadPath", folder.toString()));
    }

    public void screenshot(Path file) throws IOException {
        Files.write(file, driver.getScreenshotAs(OutputType.BYTES));
    }

    /** What the console has shown as errors since the browser was opened. */
    public List<String> errors() {
        for (LogEntry entry : driver.manage().logs().get(LogType.BROWSER)) {
            if (entry.getLevel().intValue() >= Level.SEVERE.intValue()) {
                errors.add(entry.getMessage());
            }
        }
        return List.copyOf(errors);
    }

    /** The addresses that pages asked for since the browser was opened, their own included; but for {@code data:}. */
    public List<String> requests() {
        for (LogEntry entry : driver.manage().logs().get(LogType.PERFORMANCE)) {
            try {
                JsonNode message = JSON.readTree(entry.getMessage()).path("message");
                String url = message.at("/params/request/url").asText();
                if (message.path("method").asText().equals("Network.requestWillBeSent") && !url.startsWith("data:")) {
                    requests.add(url);
                }
            } catch (JsonProcessingException e) {
                throw new IllegalStateException("chromedriver writes JSON", e);
            }
        }
        return List.copyOf(requests);
    }

    @Override
    public void close() {
        driver.quit();
    }
}
