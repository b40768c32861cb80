package io.github.drakegpt.ops;

/** How an operation uses an operand. */
public enum Access {
    /** Its content matters, and stays as it is. */
    READ,
    /** Its content does not matter before; all of it is written. */
    WRITE,
    /** Its content matters, and changes. */
    UPDATE,
    /** Its content is undefined afterwards: a device may use it or leave it alone. */
    SCRATCH
}
