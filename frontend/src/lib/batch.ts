/** Collects keys that are asked for in the same moment and loads them with one call per `max` of them. */
export function batched<T>(
  load: (keys: string[]) => Promise<ReadonlyMap<string, T>>,
  max: number,
): (key: string) => Promise<T | undefined> {
  let waiting: Map<string, Promise<T | undefined>> | null = null;
  let start: Promise<ReadonlyMap<string, T>> | null = null;
  return (key) => {
    if (!waiting || !start || waiting.size >= max) {
      const keys = new Map<string, Promise<T | undefined>>();
      waiting = keys;
      start = new Promise<void>((resolve) => setTimeout(resolve, 0)).then(() => {
        if (waiting === keys) waiting = null;
        return load([...keys.keys()]);
      });
    }
    const found = start.then((all) => all.get(key));
    waiting.set(key, found);
    return found;
  };
}
