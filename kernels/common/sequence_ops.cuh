// The operations that sequence.cu interprets, as SequenceProgram.java writes them. Made by SequenceOpsHeaderTest: do not edit.
#pragma once

enum Kind : int { GATHER_BATCH, EMBEDDING, EMBEDDING_GRAD, ZERO, RELU_GRAD, RESIDUAL, RESIDUAL_GRAD, LAYER_NORM, LAYER_NORM_GRAD, LINEAR, LINEAR_GRAD, ATTENTION, ATTENTION_CACHED, ATTENTION_GRAD, CROSS_ENTROPY };

// Of each kind: the places of its operands among the pointers, and of its sizes.
struct GatherBatchOp {
    enum Operands : int { CORPUS, X, Y };
    enum Sizes : int { N };
};
struct EmbeddingOp {
    enum Operands : int { TOKENS, WTE, WPE, POSITION, OUT };
    enum Sizes : int { C, V };
};
struct EmbeddingGradOp {
    enum Operands : int { TOKENS, DOUT, DWTE, DWPE };
    enum Sizes : int { C, V, CONTEXT };
};
struct ZeroOp {
    enum Operands : int { X };
    enum Sizes : int { C };
};
struct ReluGradOp {
    enum Operands : int { Y, DY, DBIAS };
    enum Sizes : int { C };
};
struct ResidualOp {
    enum Operands : int { X, BRANCH, BIAS, SUM };
    enum Sizes : int { C };
};
struct ResidualGradOp {
    enum Operands : int { DSUM, DBRANCH, DBIAS };
    enum Sizes : int { C };
};
struct LayerNormOp {
    enum Operands : int { RESIDUAL_X, RESIDUAL_BRANCH, RESIDUAL_BIAS, X, WEIGHT, BIAS, OUT, STATS };
    enum Sizes : int { C };
};
struct LayerNormGradOp {
    enum Operands : int { X, WEIGHT, STATS, DOUT, DX, DWEIGHT, DBIAS, RESIDUAL_DBRANCH, RESIDUAL_DBIAS };
    enum Sizes : int { C };
};
struct LinearOp {
    enum Operands : int { X, W, BIAS, Y };
    enum Sizes : int { IN, OUT, RELU };
};
struct LinearGradOp {
    enum Operands : int { X, W, DY, DX, DW, DBIAS };
    enum Sizes : int { IN, OUT };
};
struct AttentionOp {
    enum Operands : int { QKV, OUT, STATS };
    enum Sizes : int { HEADS, HEAD_SIZE, LANES, KEYS };
};
struct AttentionCachedOp {
    enum Operands : int { QKV, CACHE, POSITION, OUT };
    enum Sizes : int { HEADS, HEAD_SIZE, LANES, KEYS };
};
struct AttentionGradOp {
    enum Operands : int { QKV, OUT, STATS, DOUT, DQKV };
    enum Sizes : int { HEADS, HEAD_SIZE, TOGETHER };
};
struct CrossEntropyOp {
    enum Operands : int { LOGITS, TARGETS, LOSS, DLOGITS };
    enum Sizes : int { V };
};

// An operation. Tensors of which each sequence has a part begin with that of block 0.
struct alignas(16) OperationWords {
    void* pointers[10];  // to the operands; the last one: to the step of a stream of random numbers
    int places[10];      // of the sequence's rows in shared memory: stride << 16 | offset / 4, or -1 where they have none
    unsigned long long seed;
    long long first;  // sequence, or row, of the whole batch
    Kind kind;
    int purpose;
    int threshold;
    float scale;
    int sizes[6];
    float number;
};
static_assert(sizeof(OperationWords) == 192, "as many bytes are written");
