/**
 * Corpora: text from files, the web and Kaggle, the character vocabulary, and the prepared folder that training reads.
 *
 * <p>{@link io.github.drakegpt.data.TextSource}, {@link io.github.drakegpt.data.UrlSource} and
 * {@link io.github.drakegpt.data.KaggleDataset} each give one text; {@link io.github.drakegpt.data.Corpus} turns a text
 * into tokens; {@link io.github.drakegpt.data.CorpusFolder} keeps it on disk; {@link io.github.drakegpt.data.Corpora}
 * finds it again.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.data;
