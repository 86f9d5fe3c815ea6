// Preloaded into a process, so that to it there is no network.
globalThis.fetch = () => Promise.reject(new TypeError("fetch failed"));
