package io.github.drakegpt.tracking;

import io.github.drakegpt.data.CharTokenizer;

/** Texts of unknown content as code in Markdown, where none of their characters means anything. */
final class Markdown {
    private Markdown() {}

    /** A block, between fences that are longer than any in the text. */
    static String verbatim(String text) {
        String fence = "`".repeat(Math.max(3, longestFence(text) + 1));
        return fence + '\n' + text + '\n' + fence;
    }

    /** A part of a line, or of a table's cell. */
    static String code(String text) {
        String line = CharTokenizer.printable(text).replace("|", "\\|");
        String fence = "`".repeat(longestFence(line) + 1);
        return fence.length() == 1 ? fence + line + fence : fence + ' ' + line + ' ' + fence;
    }

    private static int longestFence(String text) {
        int longest = 0;
        int run = 0;
        for (int i = 0; i < text.length(); i++) {
            run = text.charAt(i) == '`' ? run + 1 : 0;
            longest = Math.max(longest, run);
        }
        return longest;
    }
}
