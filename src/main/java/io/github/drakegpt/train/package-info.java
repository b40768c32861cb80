/** Training: settings, learning rate schedules, and the loop. */
package io.github.drakegpt.train;
