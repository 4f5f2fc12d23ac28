import { QueryClientProvider } from '@tanstack/react-query';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { Api } from './api/client';
import { ApiProvider, createQueryClient } from './api/context';
import { App } from './app/App';
import { CrashGuard } from './app/CrashGuard';
import { startTheme } from './lib/theme';
import './index.css';
import './ui/controls.css';
import './ui/fields.css';
import './ui/overlays.css';
import './ui/ui.css';

startTheme();
const api = new Api();
const queries = createQueryClient();
const root = document.getElementById('root');
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <ApiProvider value={api}>
          <CrashGuard>
            <App />
          </CrashGuard>
        </ApiProvider>
      </QueryClientProvider>
    </StrictMode>,
  );
}
