/** Presentation of runs: the report page, the live page and pictures of curves. */
package io.github.drakegpt.report;
