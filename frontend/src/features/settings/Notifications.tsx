import { useState } from 'react';
import { notificationsOn, setNotifications } from '../../lib/notifications';
import { texts } from '../../lib/texts';
import { Switch } from '../../ui/Switch';

export function Notifications() {
  const [on, setOn] = useState(notificationsOn);
  const [denied, setDenied] = useState(false);
  const change = async (wanted: boolean) => {
    const now = await setNotifications(wanted);
    setOn(now);
    setDenied(wanted && !now);
  };
  return (
    <div className="card">
      <Switch
        label={texts.settings.notifications}
        hint={texts.settings.notificationsHint}
        checked={on}
        onChange={(wanted) => void change(wanted)}
      />
      {denied ? (
        <p className="notice" role="alert">
          {texts.settings.notificationsDenied}
        </p>
      ) : null}
    </div>
  );
}
