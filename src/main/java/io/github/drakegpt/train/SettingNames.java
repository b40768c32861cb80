package io.github.drakegpt.train;

import io.github.drakegpt.data.Nearest;
import java.util.Collection;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** What someone may have meant who wrote a setting that is not there. */
final class SettingNames {
    /** Names that nanoGPT, PyTorch and Hugging Face's libraries have for our settings. */
    private static final Map<String, String> OTHERS = Map.ofEntries(
            Map.entry("lr", "train.max_lr"),
            Map.entry("learningrate", "train.max_lr"),
            Map.entry("minlr", "train.base_lr"),
            Map.entry("batch", "train.batch_size"),
            Map.entry("maxiters", "train.iters"),
            Map.entry("maxsteps", "train.iters"),
            Map.entry("steps", "train.iters"),
            Map.entry("warmup", "train.warmup_iters"),
            Map.entry("warmupsteps", "train.warmup_iters"),
            Map.entry("lrscheduler", "train.schedule"),
            Map.entry("beta1", "train.betas"),
            Map.entry("beta2", "train.betas"),
            Map.entry("gradientaccumulationsteps", "train.grad_accum"),
            Map.entry("maxgradnorm", "train.grad_clip"),
            Map.entry("evalsteps", "train.eval_interval"),
            Map.entry("blocksize", "model.context_length"),
            Map.entry("nctx", "model.context_length"),
            Map.entry("nlayer", "model.num_layers"),
            Map.entry("nhead", "model.num_heads"),
            Map.entry("nembd", "model.embedding_dim"),
            Map.entry("hiddensize", "model.embedding_dim"),
            Map.entry("dtype", "device.precision"));

    private SettingNames() {}

    /** The key that has this name, without its group or under another program's name for it. */
    static Optional<String> keyOf(String name, Collection<String> keys) {
        String last = plain(lastPart(name));
        Optional<String> same =
                keys.stream().filter(key -> plain(lastPart(key)).equals(last)).findFirst();
        return same.isPresent() ? same : Optional.ofNullable(OTHERS.get(last));
    }

    /** That key, or else the one with the most similar letters. */
    static String nearest(String name, Collection<String> keys) {
        return keyOf(name, keys).orElseGet(() -> Nearest.names(name, keys, 1).get(0));
    }

    private static String lastPart(String key) {
        return key.substring(key.lastIndexOf('.') + 1);
    }

    /** Without what people write differently. */
    static String plain(String key) {
        return key.replaceAll("[_-]", "").toLowerCase(Locale.ROOT);
    }
}
