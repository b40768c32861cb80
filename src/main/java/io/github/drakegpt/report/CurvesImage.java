package io.github.drakegpt.report;

import com.github.weisj.jsvg.SVGDocument;
import com.github.weisj.jsvg.parser.LoaderContext;
import com.github.weisj.jsvg.parser.SVGLoader;
import com.github.weisj.jsvg.renderer.NullPlatformSupport;
import com.github.weisj.jsvg.view.ViewBox;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.font.FontRenderContext;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import javax.imageio.ImageIO;

/** {@link CurvesPicture} as pixels, for where an SVG is not shown. The only class that draws with Java's desktop module. */
public final class CurvesImage {
    private static final int SCALE = 2; // for screens with twice the pixels

    private CurvesImage() {}

    /**
     * Draws the curves in light colours.
     *
     * @return a PNG, twice as wide and as high as the SVG
     * @throws IllegalArgumentException if none of the runs was evaluated
     * @throws IOException if this Java cannot draw; the message is a sentence
     */
    public static byte[] png(List<CurvesPicture.Curve> curves) throws IOException {
        if (ModuleLayer.boot().findModule("java.desktop").isEmpty()) {
            throw new IOException(
                    "This Java was made without what draws pixels (java.desktop); draw the picture with --svg FILE instead.");
        }
        return Drawing.png(CurvesPicture.lightSvg(curves));
    }

    /** Holder, so that AWT is loaded only when an image is drawn. */
    private static final class Drawing {
        static {
            // before the first class of AWT is used: no screen is needed
            System.setProperty("java.awt.headless", "true");
        }

        static byte[] png(String svg) throws IOException {
            requireFonts();
            SVGDocument document = new SVGLoader()
                    .load(
                            new ByteArrayInputStream(svg.getBytes(StandardCharsets.UTF_8)),
                            null,
                            LoaderContext.createDefault());
            int width = Math.round(document.size().width) * SCALE;
            int height = Math.round(document.size().height) * SCALE;
            BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
            Graphics2D graphics = image.createGraphics();
            graphics.setColor(Color.decode(Palette.LIGHT_BACKGROUND));
            graphics.fillRect(0, 0, width, height);
            document.renderWithPlatform(NullPlatformSupport.INSTANCE, graphics, new ViewBox(width, height));
            graphics.dispose();
            ByteArrayOutputStream png = new ByteArrayOutputStream();
            ImageIO.setUseCache(false); // too few bytes for a temporary file
            ImageIO.write(image, "png", png);
            return png.toByteArray();
        }

        /** Gives one sentence for errors that Java reports in many ways. */
        private static void requireFonts() throws IOException {
            try {
                new Font(Font.SANS_SERIF, Font.PLAIN, 12).getStringBounds("a", new FontRenderContext(null, true, true));
            } catch (RuntimeException | LinkageError | InternalError e) {
                throw new IOException(
                        "Java cannot draw text here, for want of fonts or of what reads them; install them (apt install"
                                + " fontconfig fonts-dejavu-core libharfbuzz0b), or draw the picture with --svg FILE.",
                        e);
            }
        }
    }
}
