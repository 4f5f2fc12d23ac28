import { useMemo, useState } from 'react';
import { useCreateGroup } from '../../api/queries/conversations';
import type { Me } from '../../api/types';
import { useChat } from '../../lib/chat';
import { explain } from '../../lib/names';
import { conversationPath, navigate } from '../../lib/router';
import { texts } from '../../lib/texts';
import { Button } from '../../ui/Button';
import { Dialog } from '../../ui/Dialog';
import { Field } from '../../ui/Field';
import { PeoplePicker } from '../../ui/PeoplePicker';
import { Switch } from '../../ui/Switch';
import { usePicker } from './usePicker';

type Props = { me: Me; onClose: () => void };
const TITLE_MAX = 80;

export function NewGroup({ me, onClose }: Props) {
  const chat = useChat();
  const create = useCreateGroup();
  const [title, setTitle] = useState('');
  const [all, setAll] = useState(false);
  const [error, setError] = useState('');
  const [key] = useState(randomKey);
  const picker = usePicker(useMemo(() => new Set([me.id]), [me.id]));
  const submit = () => {
    if (!title.trim()) return setError(texts.group.nameEmpty);
    create.mutate(
      {
        title: title.trim(),
        members: picker.chosen.map((one) => one.id),
        history: all ? 'all' : 'joined',
        key,
      },
      {
        onSuccess: (conversation) => {
          chat.adopt(conversation);
          onClose();
          navigate(conversationPath(conversation.id));
        },
        onError: (failure) => setError(explain(failure)),
      },
    );
  };
  return (
    <Dialog
      title={texts.group.newTitle}
      onClose={onClose}
      foot={
        <>
          <Button onClick={onClose}>{texts.cancel}</Button>
          <Button variant="primary" busy={create.isPending} onClick={submit}>
            {texts.group.create}
          </Button>
        </>
      }
    >
      <Field
        label={texts.group.name}
        placeholder={texts.group.namePlaceholder}
        value={title}
        maxLength={TITLE_MAX}
        autoFocus
        error={error}
        onChange={(event) => setTitle(event.target.value)}
      />
      <PeoplePicker label={texts.group.addHint} removeLabel={texts.group.remove} {...picker} />
      <Switch label={texts.group.history} checked={all} onChange={setAll} />
    </Dialog>
  );
}

function randomKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(8))]
    .map((byte) => byte.toString(16).padStart(2, '0'))
    .join('');
}
