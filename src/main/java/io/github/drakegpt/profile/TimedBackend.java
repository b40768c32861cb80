package io.github.drakegpt.profile;

import io.github.drakegpt.backend.Backend;
import io.github.drakegpt.backend.DeviceClock;
import io.github.drakegpt.tensor.Arena;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** A backend that measures how long each operation takes on the device while another one does the work. */
final class TimedBackend implements InvocationHandler {
    /** What is not an operation of the device, or consists of others. */
    private static final Set<String> NOT_TIMED = Set.of(
            "name",
            "description",
            "precision",
            "newArena",
            "shards",
            "workers",
            "parallel",
            "newClock",
            "products",
            "close");

    private static final int MOST_SPANS = 10_000;

    private final Backend delegate;
    private final DeviceClock clock;
    private final List<String> operations = new ArrayList<>();

    TimedBackend(Backend delegate, Arena arena) {
        this.delegate = delegate;
        this.clock = delegate.newClock(arena, MOST_SPANS + 1);
    }

    /** The backend to compute with; what it should record it runs at once each time, and nothing together. */
    Backend backend() {
        return (Backend) Proxy.newProxyInstance(Backend.class.getClassLoader(), new Class<?>[] {Backend.class}, this);
    }

    @Override
    public Object invoke(Object proxy, Method method, Object[] arguments) throws Throwable {
        if (method.getName().equals("record")) {
            return arguments[1];
        }
        if (method.getName().equals("together")) {
            return 1;
        }
        boolean timed = !NOT_TIMED.contains(method.getName()) && operations.size() < MOST_SPANS;
        if (timed && operations.isEmpty()) {
            clock.mark(0);
        }
        try {
            Object result = method.invoke(delegate, arguments);
            if (timed) {
                operations.add(method.getName());
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
            spans.add(new RunProfiler.Span(operations.get(i), clock.seconds(0, i), clock.seconds(i, i + 1)));
        }
        operations.clear();
        return spans;
    }
}
