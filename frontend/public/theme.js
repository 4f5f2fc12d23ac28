// Before the first paint, so that nothing flashes: the same rule as src/app/theme.ts. A file, since the page's CSP allows no inline script.
(() => {
  let kept = null;
  try {
    kept = localStorage.getItem('webchat.theme');
  } catch {
    // Storage is blocked: the system decides.
  }
  const dark =
    kept === 'dark' || (kept !== 'light' && matchMedia('(prefers-color-scheme: dark)').matches);
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
})();
