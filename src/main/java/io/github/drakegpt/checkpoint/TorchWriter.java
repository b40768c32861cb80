package io.github.drakegpt.checkpoint;

import io.github.drakegpt.nn.Parameters;
import io.github.drakegpt.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.util.List;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Writes a state_dict as {@code torch.save} does since PyTorch 1.6, for {@code torch.load(..., weights_only=True)}: a zip
 * archive, nothing in it compressed, of a pickle and each tensor's bytes ({@link TorchFile} reads it).
 */
public final class TorchWriter {
    private static final String FOLDER = "archive/";
    /** What PyTorch puts a storage at a multiple of, so that it can be mapped into memory. */
    private static final int ALIGNMENT = 64;

    private static final int ENTRY_HEADER_BYTES = 30;
    private static final int EXTRA_HEADER_BYTES = 4;
    private static final short PADDING = 0x4246; // PyTorch's mark of the extra field that it pads entries with
    private static final LocalDateTime NO_TIME = LocalDateTime.of(1980, 2, 1, 0, 0); // the same bytes each time

    private final ZipOutputStream zip;
    private long written; // bytes of the archive so far

    private TorchWriter(ZipOutputStream zip) {
        this.zip = zip;
    }

    /** Writes the parameters and the constants of a model. */
    public static void write(OutputStream out, Parameters parameters, float[] weights) throws IOException {
        List<Safetensors.Source> tensors = StateDict.sources(parameters, weights, ElementType.F32);
        ZipOutputStream zip = new ZipOutputStream(out);
        zip.setMethod(ZipOutputStream.STORED);
        TorchWriter writer = new TorchWriter(zip);
        writer.entry("data.pkl", pickle(tensors));
        writer.entry("byteorder", ascii("little"));
        for (int i = 0; i < tensors.size(); i++) {
            writer.entry("data/" + i, tensors.get(i).bytes().array());
        }
        writer.entry("version", ascii("3\n"));
        zip.finish();
    }

    private void entry(String name, byte[] content) throws IOException {
        ZipEntry entry = new ZipEntry(FOLDER + name);
        entry.setTimeLocal(NO_TIME);
        entry.setSize(content.length);
        CRC32 crc = new CRC32();
        crc.update(content);
        entry.setCrc(crc.getValue());
        long start = written + ENTRY_HEADER_BYTES + entry.getName().length() + EXTRA_HEADER_BYTES;
        int padding = (int) (-start & ALIGNMENT - 1);
        entry.setExtra(ByteBuffer.allocate(EXTRA_HEADER_BYTES + padding)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putShort(PADDING)
                .putShort((short) padding)
                .array());
        zip.putNextEntry(entry);
        zip.write(content);
        zip.closeEntry();
        written = start + padding + content.length;
    }

    // ---------------------------------------------------------------------------------------------- the pickle

    /**
     * An OrderedDict of {@code torch._utils._rebuild_tensor_v2(storage, 0, sizes, strides, False, OrderedDict())}, in which
     * a storage is the persistent id {@code ("storage", class, key, "cpu", elements)}.
     */
    private static byte[] pickle(List<Safetensors.Source> tensors) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(new byte[] {(byte) 0x80, 2}); // protocol 2
        orderedDict(out);
        op(out, '(');
        for (int i = 0; i < tensors.size(); i++) {
            Safetensors.Source tensor = tensors.get(i);
            text(out, tensor.name());
            global(out, "torch._utils", "_rebuild_tensor_v2");
            op(out, '(');
            op(out, '(');
            text(out, "storage");
            global(out, "torch", tensor.dtype().storage());
            text(out, Integer.toString(i));
            text(out, "cpu");
            integer(out, tensor.shape().size());
            op(out, 't'); // tuple
            op(out, 'Q'); // persistent id
            integer(out, 0);
            sizesAndStrides(out, tensor.shape());
            op(out, 0x89); // False
            orderedDict(out);
            op(out, 't');
            op(out, 'R'); // call
        }
        op(out, 'u'); // set items
        op(out, '.');
        return out.toByteArray();
    }

    private static void sizesAndStrides(ByteArrayOutputStream out, Shape shape) {
        op(out, '(');
        for (int dim : shape.dims()) {
            integer(out, dim);
        }
        op(out, 't');
        op(out, '(');
        long stride = shape.size();
        for (int dim : shape.dims()) {
            stride /= dim;
            integer(out, stride);
        }
        op(out, 't');
    }

    private static void orderedDict(ByteArrayOutputStream out) {
        global(out, "collections", "OrderedDict");
        op(out, ')');
        op(out, 'R');
    }

    private static void op(ByteArrayOutputStream out, int code) {
        out.write(code);
    }

    private static void global(ByteArrayOutputStream out, String module, String name) {
        op(out, 'c');
        out.writeBytes(ascii(module + "\n" + name + "\n"));
    }

    private static void text(ByteArrayOutputStream out, String text) {
        byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
        op(out, 'X');
        out.writeBytes(int32(bytes.length));
        out.writeBytes(bytes);
    }

    private static void integer(ByteArrayOutputStream out, long value) {
        op(out, 'J');
        out.writeBytes(int32(Math.toIntExact(value)));
    }

    private static byte[] int32(int value) {
        return ByteBuffer.allocate(Integer.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putInt(value)
                .array();
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
