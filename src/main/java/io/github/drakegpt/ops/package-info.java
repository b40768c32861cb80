/**
 * The operations that models consist of: a record of the operands of each, which checks them when it is made.
 *
 * <p>Internal: it may change at any time. {@link io.github.drakegpt} is what programs that embed the library use.
 */
package io.github.drakegpt.ops;
