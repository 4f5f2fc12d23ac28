import { useState } from 'react';
import {
  FOREVER,
  type Quiet,
  quietEnd,
  setQuiet,
  setShown,
  setSound,
  useNotificationSettings,
  useQuiet,
} from '../../lib/notifications';
import { playSound } from '../../lib/sound';
import { texts } from '../../lib/texts';
import { spokenFuture } from '../../lib/time';
import { Segmented } from '../../ui/Segmented';
import { Switch } from '../../ui/Switch';

const words = texts.settings;
const QUIET: readonly (readonly [Quiet, string])[] = [
  ['off', words.quietChoices.off],
  ['hour', words.quietChoices.hour],
  ['morning', words.quietChoices.morning],
  ['forever', words.quietChoices.forever],
];

export function Notifications() {
  const { shown, sound, quietUntil } = useNotificationSettings();
  const quiet = useQuiet();
  const [denied, setDenied] = useState(false);
  const [picked, setPicked] = useState<Quiet | null>(null);
  const value = !quiet ? 'off' : (picked ?? (quietUntil === FOREVER ? 'forever' : 'hour'));
  const change = async (wanted: boolean) => setDenied(wanted && !(await setShown(wanted)));
  return (
    <>
      <div className="card">
        <Switch
          label={words.notifications}
          hint={words.notificationsHint}
          checked={shown}
          onChange={(wanted) => void change(wanted)}
        />
        {denied ? (
          <p className="notice" role="alert">
            {words.notificationsDenied}
          </p>
        ) : null}
        <Switch
          label={words.sound}
          hint={words.soundHint}
          checked={sound}
          onChange={(on) => {
            setSound(on);
            if (on) playSound();
          }}
        />
      </div>
      <div className="card">
        <div className="card__line">
          <span className="card__text">
            {words.quiet}
            <small>
              {!quiet || quietUntil === FOREVER
                ? words.quietHint
                : words.quietUntil(spokenFuture(quietUntil, Date.now()))}
            </small>
          </span>
          <Segmented
            label={words.quiet}
            value={value}
            options={QUIET}
            onChange={(choice) => {
              setPicked(choice);
              setQuiet(quietEnd(choice, Date.now()));
            }}
          />
        </div>
      </div>
    </>
  );
}
