package io.github.drakegpt.ops;

import java.util.ArrayList;
import java.util.List;

/** Records the operations that are called, to run them later or in another way. */
public final class OperationList extends UniformOperations {
    private final List<Call> calls = new ArrayList<>();

    /** @param pass null for an operation without rows */
    public record Call(Operation operation, Pass pass) {
        /** Runs the operation. */
        public void run(Operations on) {
            operation.run(on, pass);
        }
    }

    /** The recorded calls, in order. */
    public List<Call> calls() {
        return calls;
    }

    @Override
    protected void run(Operation op, Pass pass) {
        calls.add(new Call(op, pass));
    }
}
