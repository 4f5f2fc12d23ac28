import { texts } from '../lib/texts';
import { toast } from './Toasts';

/** Puts a text into the clipboard and says so, or says that it could not (a page without https has no clipboard). */
export async function copy(text: string, said: string = texts.copied): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    toast(said);
  } catch {
    toast(texts.copyFailed);
  }
}
