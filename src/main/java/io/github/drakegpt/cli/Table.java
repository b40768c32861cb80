package io.github.drakegpt.cli;

import java.util.ArrayList;
import java.util.List;

/** A table for a terminal: the first column to the left, numbers to the right. */
final class Table {
    private final List<String[]> rows = new ArrayList<>();

    Table(String... header) {
        rows.add(header);
    }

    void add(String... cells) {
        rows.add(cells);
    }

    /** Whether there is nothing below the header. */
    boolean isEmpty() {
        return rows.size() == 1;
    }

    @Override
    public String toString() {
        int columns = rows.get(0).length;
        int[] widths = new int[columns];
        for (String[] row : rows) {
            for (int i = 0; i < columns; i++) {
                widths[i] = Math.max(widths[i], row[i].length());
            }
        }
        StringBuilder text = new StringBuilder();
        for (String[] row : rows) {
            for (int i = 0; i < columns; i++) {
                String padding = " ".repeat(widths[i] - row[i].length());
                text.append(i == 0 ? row[i] + padding : "  " + padding + row[i]);
            }
            text.append(System.lineSeparator());
            if (row == rows.get(0)) {
                for (int i = 0; i < columns; i++) {
                    text.append(i == 0 ? "" : "  ").append("-".repeat(widths[i]));
                }
                text.append(System.lineSeparator());
            }
        }
        return text.toString();
    }
}
