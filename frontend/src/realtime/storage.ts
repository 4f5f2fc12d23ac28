/**
 * Where pendings live so that they survive reload, tab close and crash.
 *
 * Owns: the record, a storage in memory and one in IndexedDB. Never does: decide what is sent.
 * Talks to: idb. Start reading at: `Pending`, `PendingStorage`.
 */
import { type DBSchema, type IDBPDatabase, openDB } from 'idb';
import type { ConversationId, MessageBody, Producer } from './wire';

/** A publish that is not yet safe. */
export type Pending = {
  /** Handle, for life; the key (producer, no) may change. */
  id: string;
  /** The tab that wrote it, by its first producer: whoever holds that tab's lock sends it. */
  tab: Producer;
  /** Order of writing, over all producers. */
  order: number;
  conversation: ConversationId;
  producer: Producer;
  no: number;
  body: MessageBody;
  ts: number;
  /** Its place as acked, and the newest epoch in which the server has said so. */
  ack: { epoch: number; seq: number; asOf: number } | null;
  /** `maybe`: an attempt had no answer, so it may be stored all the same, under its key. */
  failed: { code: string; message: string; maybe: boolean } | null;
};

export interface PendingStorage {
  all(): Promise<Pending[]>;
  put(records: readonly Pending[]): Promise<void>;
  remove(ids: readonly string[]): Promise<void>;
  clear(): Promise<void>;
}

export class MemoryStorage implements PendingStorage {
  readonly #records = new Map<string, Pending>();

  async all(): Promise<Pending[]> {
    return [...this.#records.values()].map((record) => structuredClone(record));
  }
  async put(records: readonly Pending[]): Promise<void> {
    for (const record of records) this.#records.set(record.id, structuredClone(record));
  }
  async remove(ids: readonly string[]): Promise<void> {
    for (const id of ids) this.#records.delete(id);
  }
  async clear(): Promise<void> {
    this.#records.clear();
  }
}

interface Schema extends DBSchema {
  pendings: { key: string; value: Pending };
}

/** One database per user, so that a shared browser never sends as somebody else. */
export class IndexedDbStorage implements PendingStorage {
  readonly #db: Promise<IDBPDatabase<Schema>>;

  constructor(user: string) {
    this.#db = openDB<Schema>(`webchat-${user}`, 1, {
      upgrade: (db) => void db.createObjectStore('pendings', { keyPath: 'id' }),
    });
    // Whoever awaits it sees the failure; nobody awaiting it yet is no unhandled rejection.
    this.#db.catch(() => undefined);
  }

  async all(): Promise<Pending[]> {
    return await (await this.#db).getAll('pendings');
  }
  async put(records: readonly Pending[]): Promise<void> {
    const tx = (await this.#db).transaction('pendings', 'readwrite', { durability: 'strict' });
    await Promise.all([...records.map((record) => tx.store.put(record)), tx.done]);
  }
  async remove(ids: readonly string[]): Promise<void> {
    const tx = (await this.#db).transaction('pendings', 'readwrite');
    await Promise.all([...ids.map((id) => tx.store.delete(id)), tx.done]);
  }
  async clear(): Promise<void> {
    await (await this.#db).clear('pendings');
  }
}
