/** The six language models, each after the one that it adds something to, and sampling from them. */
package io.github.drakegpt.model;
