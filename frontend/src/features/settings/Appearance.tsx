import { texts } from '../../lib/texts';
import { setTheme, type Theme, useTheme } from '../../lib/theme';
import { Segmented } from '../../ui/Segmented';

const { themes } = texts.settings;
const OPTIONS: readonly (readonly [Theme, string])[] = [
  ['system', themes.system],
  ['light', themes.light],
  ['dark', themes.dark],
];

export function Appearance() {
  const theme = useTheme();
  return (
    <div className="card">
      <div className="card__line">
        <span className="card__text">{texts.settings.theme}</span>
        <Segmented
          label={texts.settings.theme}
          value={theme}
          options={OPTIONS}
          onChange={setTheme}
        />
      </div>
    </div>
  );
}
