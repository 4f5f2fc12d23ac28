import react from '@vitejs/plugin-react';
import { defineConfig } from 'vitest/config';

const backend = process.env.WEBCHAT_URL ?? 'http://localhost:8080';

export default defineConfig({
  plugins: [react()],
  server: {
    proxy: {
      '/api': backend,
      '/files': backend,
      '/ws': { target: backend, ws: true },
    },
  },
  build: { target: 'es2023', sourcemap: false },
  test: {
    include: ['src/**/*.test.{ts,tsx}'],
    // Components ask for a DOM with `// @vitest-environment happy-dom`; realtime/ has to work without one.
    environment: 'node',
    restoreMocks: true,
  },
});
