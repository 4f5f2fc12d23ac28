import { Flag, Server, ShieldOff, Users } from 'lucide-react';
import type { Me } from '../../api/types';
import { navigate, onLink } from '../../lib/router';
import { texts } from '../../lib/texts';
import { EmptyState } from '../../ui/EmptyState';
import { SectionsPage } from '../../ui/SectionsPage';
import { Reports } from './Reports';
import { ServerSettings } from './ServerSettings';
import { UserList } from './UserList';

const names = texts.admin.sections;
const SECTIONS = [
  { id: 'server', label: names.server, icon: <Server size={19} aria-hidden /> },
  { id: 'users', label: names.users, icon: <Users size={19} aria-hidden /> },
  { id: 'reports', label: names.reports, icon: <Flag size={19} aria-hidden /> },
] as const;

type Props = { me: Me; section: string | null };

export default function AdminPage({ me, section }: Props) {
  if (!me.admin) {
    return (
      <div className="main__center">
        <EmptyState
          page
          icon={<ShieldOff size={28} />}
          title={texts.admin.title}
          text={texts.admin.forbidden}
        />
      </div>
    );
  }
  const current = SECTIONS.find((one) => one.id === section)?.id ?? 'server';
  return (
    <SectionsPage
      title={texts.admin.title}
      back={texts.back}
      onBack={() => navigate('/')}
      base="/admin"
      sections={SECTIONS}
      current={current}
      onLink={onLink}
    >
      <section className="section" aria-label={names[current]}>
        {current === 'server' ? <ServerSettings /> : null}
        {current === 'users' ? <UserList me={me} /> : null}
        {current === 'reports' ? <Reports /> : null}
      </section>
    </SectionsPage>
  );
}
