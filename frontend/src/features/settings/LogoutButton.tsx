import { LogOut } from 'lucide-react';
import { useLogout } from '../../api/queries/me';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import { navigate } from '../../lib/router';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { toast } from '../../ui/Toasts';

export function LogoutButton() {
  const chat = useChat();
  const logout = useLogout();
  const leave = async () => {
    try {
      await chat.forget();
      await logout.mutateAsync();
      navigate('/login', 'replace');
    } catch (failure) {
      toast(explain(failure));
      chat.start();
    }
  };
  return (
    <div>
      <Button busy={logout.isPending} onClick={() => void leave()}>
        <LogOut size={18} aria-hidden />
        {texts.auth.logout}
      </Button>
    </div>
  );
}
