package io.github.drakegpt.cli;

/** Words of a command that can be pasted into a shell. */
final class Shell {
    private Shell() {}

    /** A text as one word. */
    static String quoted(String text) {
        if (text.matches("[\\p{L}\\p{N}._/\\\\:~+=@%,-]+")) {
            return text;
        }
        return text.matches("[^\"$`!\\p{Cc}]+") ? '"' + text + '"' : "'" + text.replace("'", "'\\''") + "'";
    }
}
