package io.github.drakegpt.backend;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Proxy;

/** A backend of another kind in all but one thing: how many repetitions it wants recorded together. */
public final class RepetitionsPerLaunch {
    private RepetitionsPerLaunch() {}

    /** @param most what it answers, or fewer where fewer are asked for */
    public static Backend atMost(int most, Backend delegate) {
        return (Backend) Proxy.newProxyInstance(
                Backend.class.getClassLoader(), new Class<?>[] {Backend.class}, (proxy, method, arguments) -> {
                    if (method.getName().equals("repetitionsPerLaunch")) {
                        return Math.min(most, (int) arguments[0]);
                    }
                    try {
                        return method.invoke(delegate, arguments);
                    } catch (InvocationTargetException e) {
                        throw e.getCause();
                    }
                });
    }
}
