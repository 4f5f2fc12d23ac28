import type { Me } from '../../api/types';

export default function SettingsPage({ me, section }: { me: Me; section: string | null }) {
  return (
    <div>
      {me.username}
      {section}
    </div>
  );
}
