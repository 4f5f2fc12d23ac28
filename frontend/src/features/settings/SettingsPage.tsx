import { Bell, EyeOff, MonitorSmartphone, Palette, UserRound, UserRoundCog } from 'lucide-react';
import type { Me } from '../../api/types';
import { navigate, onLink } from '../../lib/router';
import { texts } from '../../lib/texts';
import { SectionsPage } from '../../ui/SectionsPage';
import { Account } from './Account';
import { Appearance } from './Appearance';
import { Notifications } from './Notifications';
import { Privacy } from './Privacy';
import { Profile } from './Profile';
import { Sessions } from './Sessions';

const names = texts.settings.sections;
const SECTIONS = [
  { id: 'profile', label: names.profile, icon: <UserRound size={19} aria-hidden /> },
  { id: 'appearance', label: names.appearance, icon: <Palette size={19} aria-hidden /> },
  { id: 'notifications', label: names.notifications, icon: <Bell size={19} aria-hidden /> },
  { id: 'privacy', label: names.privacy, icon: <EyeOff size={19} aria-hidden /> },
  { id: 'sessions', label: names.sessions, icon: <MonitorSmartphone size={19} aria-hidden /> },
  { id: 'account', label: names.account, icon: <UserRoundCog size={19} aria-hidden /> },
] as const;

type Props = { me: Me; section: string | null };

export default function SettingsPage({ me, section }: Props) {
  const current = SECTIONS.find((one) => one.id === section)?.id ?? 'profile';
  return (
    <SectionsPage
      title={texts.settings.title}
      back={texts.back}
      onBack={() => navigate('/')}
      base="/settings"
      sections={SECTIONS}
      current={current}
      onLink={onLink}
    >
      <section className="section" aria-label={names[current]}>
        {current === 'profile' ? <Profile me={me} /> : null}
        {current === 'appearance' ? <Appearance /> : null}
        {current === 'notifications' ? <Notifications /> : null}
        {current === 'privacy' ? <Privacy me={me} /> : null}
        {current === 'sessions' ? <Sessions /> : null}
        {current === 'account' ? <Account me={me} /> : null}
      </section>
    </SectionsPage>
  );
}
