import { LinkIcon } from 'lucide-react';
import { ApiError } from '../api/problem';
import { useInvitePreview, useJoin } from '../api/queries/conversations';
import { useChat } from '../lib/chat';
import { explain } from '../lib/names';
import { conversationPath, navigate } from '../lib/router';
import { texts } from '../lib/texts';
import { Button } from '../ui/Button';
import { EmptyState } from '../ui/EmptyState';
import { LoadFailed } from '../ui/LoadFailed';
import { Skeleton } from '../ui/Skeleton';
import { toast } from '../ui/Toasts';

export function JoinPage({ code }: { code: string }) {
  const chat = useChat();
  const preview = useInvitePreview(code);
  const join = useJoin();
  const home = <Button onClick={() => navigate('/', 'replace')}>{texts.join.home}</Button>;
  const enter = () =>
    join.mutate(code, {
      onSuccess: (conversation) => {
        chat.adopt(conversation);
        navigate(conversationPath(conversation.id), 'replace');
      },
      onError: (failure) => toast(explain(failure)),
    });
  return (
    <div className="main__center">
      {preview.data ? (
        <EmptyState
          page
          icon={<LinkIcon size={28} />}
          title={texts.join.title}
          text={texts.join.text(preview.data.title || texts.untitled, preview.data.members_count)}
        >
          <Button variant="primary" busy={join.isPending} onClick={enter}>
            {texts.join.join}
          </Button>
          {home}
        </EmptyState>
      ) : preview.isError && mayHeal(preview.error) ? (
        <LoadFailed text={explain(preview.error)} onRetry={() => void preview.refetch()} />
      ) : preview.isError ? (
        <EmptyState
          page
          icon={<LinkIcon size={28} />}
          title={texts.join.gone}
          text={texts.join.goneText}
        >
          {home}
        </EmptyState>
      ) : (
        <Skeleton width={280} height={160} radius={16} />
      )}
    </div>
  );
}

/** A server that cannot answer says nothing about the link. */
function mayHeal(error: unknown): boolean {
  return error instanceof ApiError && error.retryable;
}
