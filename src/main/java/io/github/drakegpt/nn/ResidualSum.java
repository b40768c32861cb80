package io.github.drakegpt.nn;

import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;

/**
 * A sum of the residual stream and a branch that is still to be computed: by the norm that reads it, in one pass, or alone.
 *
 * @param backward null where nothing is trained
 */
record ResidualSum(ResidualOp forward, ResidualGradOp backward) {}
