// Package browser looks at the status page with a real browser: what it renders, how it keeps up to date, that it can be used by
// keyboard, on a narrow screen and with assistive technology, and that no name becomes anything but text.
//
// It drives Debian's chromium by the DevTools protocol, and asks axe-core for what assistive technology would stumble over. `make
// test-browser` brings axe-core, as package-lock.json pins it, and runs the tests; without chromium they are skipped. It is a module of its
// own, so that nobody else depends on either.
package browser
