package io.github.drakegpt.nn;

import io.github.drakegpt.ops.ResidualGradOp;
import io.github.drakegpt.ops.ResidualOp;

/**
 * A sum of the residual stream and a branch that is not yet computed: the norm that reads it computes both in one pass,
 * or it runs alone.
 *
 * @param backward null where nothing is trained
 */
record ResidualSum(ResidualOp forward, ResidualGradOp backward) {}
