/**
 * Small GPTs on GPU or CPU, and their kernels for other programs: the two exported packages are for those, what is in the
 * others may change at any time.
 *
 * <p>Optional at run time: JCuda, without which there is no GPU, and what only the command line needs.
 */
@SuppressWarnings("requires-automatic") // some modules are named after their jars, JCuda's for instance
module io.github.drakegpt {
    requires com.fasterxml.jackson.databind;
    requires com.fasterxml.jackson.dataformat.yaml;
    requires java.management;
    requires java.net.http;
    requires jdk.management;
    requires org.apache.commons.csv;
    requires org.slf4j;
    requires static jcuda;
    requires static jcublas;
    requires static jcudnn;
    // the command line's
    requires static ch.qos.logback.classic;
    requires static ch.qos.logback.core;
    requires static com.google.protobuf;
    requires static com.github.weisj.jsvg;
    requires static info.picocli;
    requires static java.desktop;
    requires static jdk.httpserver;
    requires static me.tongfei.progressbar;
    requires static org.jline.reader;
    requires static org.jline.terminal;
    requires static org.tribuo.util.onnx;

    exports io.github.drakegpt;
    exports io.github.drakegpt.tensor;

    opens io.github.drakegpt.checkpoint to
            com.fasterxml.jackson.databind;
    opens io.github.drakegpt.cli to
            com.fasterxml.jackson.databind,
            info.picocli;
    opens io.github.drakegpt.data to
            com.fasterxml.jackson.databind;
    opens io.github.drakegpt.model to
            com.fasterxml.jackson.databind;
    opens io.github.drakegpt.nn to
            com.fasterxml.jackson.databind;
    opens io.github.drakegpt.quant to
            com.fasterxml.jackson.databind;
    opens io.github.drakegpt.train to
            com.fasterxml.jackson.databind;

    uses io.github.drakegpt.backend.BackendProvider;

    provides io.github.drakegpt.backend.BackendProvider with
            io.github.drakegpt.backend.cuda.CudaBackendProvider,
            io.github.drakegpt.backend.cpu.CpuBackendProvider,
            io.github.drakegpt.backend.cuda.SimtBackendProvider;
}
