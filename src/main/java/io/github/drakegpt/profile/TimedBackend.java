package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.ops.Operation;
import io.github.drakegpt.tensor.Arena;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Wraps a backend and times each of its operations on the device. */
final class TimedBackend implements InvocationHandler {
    /** Methods by which a device can run operations together; their default implementations run them one by one. */
    private static final Set<String> ONE_BY_ONE = Set.of("record", "region", "repetitionsPerLaunch");

    private static final int MOST_SPANS = 10_000;

    private final Backend delegate;
    private final DeviceClock clock;
    private final List<Operation> operations = new ArrayList<>();

    TimedBackend(Backend delegate, Arena arena) {
        this.delegate = delegate;
        this.clock = delegate.newClock(arena, MOST_SPANS + 1);
    }

    /** The backend to compute with. */
    Backend backend() {
        return (Backend) Proxy.newProxyInstance(Backend.class.getClassLoader(), new Class<?>[] {Backend.class}, this);
    }

    @Override
    public Object invoke(Object proxy, Method method, Object[] arguments) throws Throwable {
        if (ONE_BY_ONE.contains(method.getName())) {
            return InvocationHandler.invokeDefault(proxy, method, arguments);
        }
        boolean timed = arguments != null && arguments[0] instanceof Operation && operations.size() < MOST_SPANS;
        if (timed && operations.isEmpty()) {
            clock.mark(0);
        }
        try {
            Object result = method.invoke(delegate, arguments);
            if (timed) {
                operations.add((Operation) arguments[0]);
                clock.mark(operations.size());
            }
            return result;
        } catch (InvocationTargetException e) {
            throw e.getCause();
        }
    }

    /** The operations since the last call of this, in their order. */
    List<RunProfiler.Span> take() {
        List<RunProfiler.Span> spans = new ArrayList<>();
        for (int i = 0; i < operations.size(); i++) {
            String operation = OperationName.of(operations.get(i));
            spans.add(new RunProfiler.Span(operation, clock.seconds(0, i), clock.seconds(i, i + 1)));
        }
        operations.clear();
        return spans;
    }
}
