package io.github.drakegpt.cli;

import java.util.ArrayList;
import java.util.List;

/** A table for a terminal. */
final class Table {
    private final List<String[]> rows = new ArrayList<>();
    private final int textColumns;

    /** The first column to the left, numbers to the right. */
    Table(String... header) {
        this(1, header);
    }

    private Table(int textColumns, String... header) {
        this.textColumns = textColumns;
        rows.add(header);
    }

    /** All columns to the left. */
    static Table ofText(String... header) {
        return new Table(header.length, header);
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
            StringBuilder line = new StringBuilder();
            for (int i = 0; i < columns; i++) {
                String padding = " ".repeat(widths[i] - row[i].length());
                line.append(i == 0 ? "" : "  ").append(i < textColumns ? row[i] + padding : padding + row[i]);
            }
            text.append(line.toString().stripTrailing()).append(System.lineSeparator());
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
