/** The six language models, each of which extends the one before it; generating text and scoring texts with them. */
package io.github.drakegpt.model;
