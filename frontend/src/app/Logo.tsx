export function Logo({ size = 40 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 48 48" aria-hidden focusable="false">
      <rect width="48" height="48" rx="15" fill="#0b7560" />
      <path
        d="M11 21.5C11 15.7 16.2 12 23 12s12 3.7 12 9.5S29.8 31 23 31c-1.1 0-2.2-.1-3.2-.3L13.5 33.5l1-4.9C12.3 26.9 11 24.4 11 21.5z"
        fill="#fff"
      />
      <path
        d="M37.2 22.5c.6 1.2.8 2.5.8 3.9 0 2.6-1.2 4.8-3.2 6.4l.8 4.2-5.3-2.4c-2.3.4-4.7.2-6.8-.5 7.8-.2 13.3-4.7 13.7-11.6z"
        fill="#8fe3cb"
      />
      <circle cx="18.5" cy="21.5" r="1.7" fill="#0b7560" />
      <circle cx="23.2" cy="21.5" r="1.7" fill="#0b7560" />
      <circle cx="27.9" cy="21.5" r="1.7" fill="#0b7560" />
    </svg>
  );
}
