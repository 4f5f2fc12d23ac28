import { Flag } from 'lucide-react';
import { useCloseReport, useReports } from '../../api/queries/admin';
import { plainText } from '../../lib/markup';
import { explain, nameOf } from '../../lib/names';
import { texts } from '../../lib/texts';
import { spokenTime } from '../../lib/time';
import { Button } from '../../ui/Button';
import { EmptyState } from '../../ui/EmptyState';
import { LoadFailed } from '../../ui/LoadFailed';
import { toast } from '../../ui/Toasts';

export function Reports() {
  const reports = useReports();
  const close = useCloseReport();
  if (reports.isError && !reports.data)
    return <LoadFailed text={explain(reports.error)} onRetry={() => void reports.refetch()} />;
  const open = reports.data?.filter((report) => !report.closed) ?? [];
  if (reports.data && open.length === 0) {
    return (
      <EmptyState
        icon={<Flag size={26} />}
        title={texts.admin.noReports}
        text={texts.admin.noReportsText}
      />
    );
  }
  return open.map((report) => (
    <article key={report.id} className="card">
      <p className="hint">
        {texts.admin.reportBy(nameOf(report.by), spokenTime(report.ts, Date.now()))}
      </p>
      <p>“{plainText(report.text)}”</p>
      <div className="card__line">
        <span className="card__text">{report.reason}</span>
        <Button
          small
          onClick={() => close.mutate(report.id, { onError: (failure) => toast(explain(failure)) })}
        >
          {texts.admin.closeReport}
        </Button>
      </div>
    </article>
  ));
}
