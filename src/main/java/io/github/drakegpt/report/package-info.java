/** Runs as people see them: the report page and its pictures. */
package io.github.drakegpt.report;
