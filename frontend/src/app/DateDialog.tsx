import { type FormEvent, useState } from 'react';
import { useFindDay } from '../api/queries/history';
import { explain } from '../lib/names';
import { texts } from '../lib/texts';
import { dayInput, dayOf, sameDay } from '../lib/time';
import { Button } from '../ui/Button';
import { Dialog } from '../ui/Dialog';
import { Field } from '../ui/Field';
import { toast } from '../ui/Toasts';

type Props = {
  conversation: string;
  head: number;
  /** The day one comes from. */
  from: number;
  onJump: (seq: number) => Promise<void>;
  onClose: () => void;
};

/** Picks a day and goes to what was written first on it, or after it. */
export function DateDialog({ conversation, head, from, onJump, onClose }: Props) {
  const find = useFindDay(conversation);
  const [day, setDay] = useState(dayInput(from));
  const go = async (start: number) => {
    try {
      const place = await find.mutateAsync({ start, head });
      if (!place) return toast(texts.timeline.nothingSince);
      await onJump(place.seq);
      if (start > 0 && !sameDay(place.ts, start)) toast(texts.timeline.nothingThatDay);
      onClose();
    } catch (failure) {
      toast(explain(failure));
    }
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const start = dayOf(day);
    if (start !== null) void go(start);
  };
  return (
    <Dialog title={texts.timeline.jumpToDate} onClose={onClose}>
      <form onSubmit={submit}>
        <Field
          label={texts.timeline.date}
          type="date"
          required
          value={day}
          max={dayInput(Date.now())}
          onChange={(event) => setDay(event.target.value)}
        />
        <div className="form-actions">
          <Button onClick={() => void go(0)}>{texts.timeline.beginning}</Button>
          <Button variant="primary" type="submit" busy={find.isPending}>
            {texts.timeline.jump}
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
