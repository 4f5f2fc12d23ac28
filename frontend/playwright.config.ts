import { defineConfig } from '@playwright/test';

// Pictures are taken by hand: WEBCHAT_SCREENSHOTS names their folder, and the instance has to be empty.
const byHand = process.env.WEBCHAT_SCREENSHOTS
  ? []
  : ['**/readme.spec.ts', '**/screenshots.spec.ts'];
// `cargo xtask e2e` starts a cluster and names its folder.
const ofCluster = process.env.WEBCHAT_CLUSTER ? [] : ['**/cluster.spec.ts', '**/proxy.spec.ts'];

/** The server under test is started by the caller (`./test`); one that has to be restarted is named by WEBCHAT_BIN. */
export default defineConfig({
  testDir: 'e2e',
  testIgnore: [...byHand, ...ofCluster],
  outputDir: 'test-results',
  fullyParallel: false,
  // One instance, one administrator, and two cores: the specs share them in order.
  workers: 1,
  retries: 0,
  timeout: 60_000,
  expect: { timeout: 10_000 },
  reporter: [['list']],
  use: {
    baseURL: process.env.WEBCHAT_URL ?? 'http://localhost:8080',
    // A trace of every test is half a gigabyte on disk: `WEBCHAT_TRACE=1` for the one that is looked into.
    trace: process.env.WEBCHAT_TRACE ? 'retain-on-failure' : 'off',
    screenshot: 'only-on-failure',
    launchOptions: {
      executablePath: process.env.WEBCHAT_CHROMIUM ?? '/usr/bin/chromium',
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--disable-quic',
        '--disable-background-networking',
        '--disable-component-update',
        '--disable-sync',
      ],
    },
  },
});
