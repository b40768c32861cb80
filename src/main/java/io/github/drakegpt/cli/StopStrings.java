package io.github.drakegpt.cli;

import java.util.List;

/**
 * Ends a text before the first of some strings that occurs in it. What could be the beginning of one is held back until
 * it is known whether it is.
 */
final class StopStrings {
    private final List<String> strings;
    private final StringBuilder held = new StringBuilder();
    private boolean found;

    /** @throws IllegalArgumentException if one is empty */
    StopStrings(List<String> strings) {
        if (strings.stream().anyMatch(String::isEmpty)) {
            throw new IllegalArgumentException("An empty string would stop every text; give --stop some characters.");
        }
        this.strings = strings;
    }

    /** Takes the next characters of the text, and returns those that are known to belong to it. */
    String take(String characters) {
        held.append(characters);
        int end = held.length();
        for (String string : strings) {
            int at = held.indexOf(string);
            if (at >= 0) {
                found = true;
                end = Math.min(end, at);
            }
        }
        return release(found ? end : held.length() - beginning());
    }

    /** Whether one of the strings has occurred. */
    boolean found() {
        return found;
    }

    /** What was held back, of a text that ended for another reason. */
    String rest() {
        return found ? "" : release(held.length());
    }

    /** How many of the last characters are the beginning of a string. */
    private int beginning() {
        int longest = 0;
        for (String string : strings) {
            for (int length = Math.min(string.length() - 1, held.length()); length > longest; length--) {
                if (string.startsWith(held.substring(held.length() - length))) {
                    longest = length;
                }
            }
        }
        return longest;
    }

    private String release(int length) {
        String released = held.substring(0, length);
        held.delete(0, length);
        return released;
    }
}
