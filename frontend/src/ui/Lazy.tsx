import { type ComponentType, useCallback, useEffect, useState } from 'react';
import { texts } from '../lib/texts';
import { useRetry } from '../lib/useRetry';
import { LoadFailed } from './LoadFailed';

/** After so many tries, with a server that answers, the file is gone: a newer page has taken its place. */
const TRIES_MAX = 2;

/** A component in a file of its own, which may not come: then `load` rejects, and can be called again. */
export class Part<P> {
  readonly #file: () => Promise<{ default: ComponentType<P> }>;
  content: ComponentType<P> | null = null;

  constructor(file: () => Promise<{ default: ComponentType<P> }>) {
    this.#file = file;
  }

  async load(): Promise<void> {
    this.content ??= (await this.#file()).default;
  }
}

/** Shows a part as soon as it is there. Where it does not come it says so, and breaks nothing around it. */
export function Lazy<P extends object>({ part, props }: { part: Part<P>; props: P }) {
  const [, setReady] = useState(false);
  const [failed, setFailed] = useState(0);
  const attempt = useCallback(() => {
    part.load().then(
      () => setReady(true),
      () => setFailed((times) => times + 1),
    );
  }, [part]);
  const { content: Content } = part;
  useEffect(() => {
    if (!part.content) attempt();
  }, [part, attempt]);
  useRetry(failed > 0 && !Content, attempt);
  if (Content) return <Content {...props} />;
  if (failed === 0) return null;
  const retry = () => (failed < TRIES_MAX ? attempt() : void reloadIfAnswered(attempt));
  return <LoadFailed text={texts.partFailed} onRetry={retry} />;
}

/** Without a server there is nothing to reload: what is on screen would be lost for an error of the browser. */
async function reloadIfAnswered(otherwise: () => void): Promise<void> {
  const answered = await fetch('/', { method: 'HEAD', cache: 'no-store' }).catch(() => null);
  if (answered?.ok) location.reload();
  else otherwise();
}
