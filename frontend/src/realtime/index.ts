/** The door to realtime/: what features and other programs import. */
export { createClient } from './client';
export { readersOf } from './counts';
export { backendOver, browserPorts, nodePorts } from './environment';
export type * from './facade';
export type { Store } from './store';
export { ATTACHMENTS_MAX, refusalOf, TEXT_BYTES_MAX } from './text';
export type * from './wire';
