/**
 * The sound of a message: two short notes, made here, so nothing has to be loaded. Owns: the audio context.
 * Browsers let a page make sounds only after it was used once; before that `playSound` is silent.
 */
const NOTES = [
  { hz: 587.3, at: 0 },
  { hz: 880, at: 0.11 },
] as const;
const LENGTH_S = 0.32;
const LOUDNESS = 0.12;

let context: AudioContext | null = null;

/** Gets the audio ready at the first use of the page. Returns the function that stops waiting for it. */
export function armSound(): () => void {
  const events = ['pointerdown', 'keydown'] as const;
  const stop = () => {
    for (const event of events) removeEventListener(event, arm, true);
  };
  const arm = () => {
    stop();
    if ('AudioContext' in globalThis) context ??= new AudioContext();
  };
  for (const event of events) addEventListener(event, arm, true);
  return stop;
}

export function playSound(): void {
  const audio = context;
  if (!audio) return;
  void audio.resume();
  for (const { hz, at } of NOTES) {
    const start = audio.currentTime + at;
    const [tone, volume] = [audio.createOscillator(), audio.createGain()];
    tone.frequency.value = hz;
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(LOUDNESS, start + 0.012);
    volume.gain.exponentialRampToValueAtTime(0.0001, start + LENGTH_S);
    tone.connect(volume).connect(audio.destination);
    tone.start(start);
    tone.stop(start + LENGTH_S);
  }
}
