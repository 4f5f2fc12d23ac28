// Import boundaries only; everything else is biome's. features → realtime, api, ui, lib; never feature → feature.
import tseslint from 'typescript-eslint';

const deny = (...patterns) => ({
  'no-restricted-imports': [
    'error',
    { patterns: patterns.map(([group, message]) => ({ group, message })) },
  ],
});
const REACT = [
  ['react', 'react-dom', 'react/*', 'react-dom/*', '@tanstack/*', 'react-router'],
  'realtime/ is framework-free',
];
const UP = [
  ['**/features/**', '**/app/**', '**/ui/**'],
  'imports go features → realtime, api, ui, lib, never back',
];

export default [
  { ignores: ['dist', 'node_modules', 'test-results', 'playwright-report'] },
  {
    files: ['**/*.{ts,tsx}'],
    languageOptions: { parser: tseslint.parser },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
  },
  { files: ['src/realtime/**/*.ts'], rules: deny(REACT, UP) },
  { files: ['src/api/**/*.{ts,tsx}', 'src/lib/**/*.{ts,tsx}'], rules: deny(UP) },
  {
    files: ['src/ui/**/*.{ts,tsx}'],
    rules: deny([['**/features/**', '**/app/**', '**/realtime/**', '**/api/**'], 'ui/ is dumb']),
  },
  {
    files: ['src/features/*/**/*.{ts,tsx}'],
    rules: deny([
      ['../*/*', '!../../*', '**/features/**', '**/app/**'],
      'a feature never imports another feature or the app',
    ]),
  },
];
